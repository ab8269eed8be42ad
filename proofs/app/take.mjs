// A call with effects: they are durable before its answer, and the same Idempotency-Key has them once.
import { note } from "./ledger.mjs";

export default {
  async fetch(request, env) {
    const { id, then } = await request.json();
    await note(env, "take", id);
    await env.EVENTS.publish({ type: "step.second", source: "/proofs", id, data: { fates: then } });
    return Response.json({ id });
  },
};
