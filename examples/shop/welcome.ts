// On user_signed_up: greets a new customer. The newsletter is an optional second step: it is asked for with an event,
// and only if the user ticked the box. Whoever handles that event is not this function's business.

import type { CloudEvent, Env } from "../../sdk/node/evoke.d.ts";

interface SignUp {
  email: string;
  newsletter?: boolean;
}

export default {
  async event(event: CloudEvent<SignUp>, env: Env) {
    const { email, newsletter } = event.data;
    await env.KV.put(`customer/${email}`, { email, since: event.time });
    console.log(`welcome, ${email}`);

    // Events that a handler returns are published, as if by env.EVENTS.publish.
    return newsletter ? [{ type: "newsletter_requested", subject: email, data: { email } }] : [];
  },
};
