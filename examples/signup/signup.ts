// POST /signups: remembers who signed up, and says so. Which steps follow is not decided here: each subscription in
// evoke.toml says which sign-ups it is for.

import type { Env } from "../../sdk/node/evoke.d.ts";

const OPTIONS = ["newsletter", "updates"];

interface SignUp {
  email: string;
  wants: string[];
  invited_by?: string;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const user = read(await request.json().catch(() => null));
    if (typeof user === "string") return problem(400, "this is not a sign-up", user);

    const key = `user/${user.email}`;
    if ((await env.KV.get(key)) !== null) return problem(409, "already signed up", `${user.email} has signed up before`);

    // Committed together, before the answer: there is no user without the event, and no event without the user.
    await env.KV.put(key, user, { ifRevision: 0 });
    await env.EVENTS.publish({
      type: "user.signed_up",
      subject: user.email,
      data: user,
      ...(user.invited_by && { invitedby: user.invited_by }), // an attribute, so that `where` can see it
    });
    return Response.json(user, { status: 201 });
  },
};

/** The sign-up, or what is wrong with it. */
function read(body: any): SignUp | string {
  const { email, wants = [], invited_by } = body ?? {};
  const isAddress = (text: unknown) => typeof text === "string" && text.length <= 254 && /^[^\s@<>]+@[^\s@<>]+$/.test(text);
  if (!isAddress(email)) return "email: an address such as ada@example.com";
  if (!Array.isArray(wants) || !wants.every((want) => OPTIONS.includes(want))) return `wants: any of ${OPTIONS.join(", ")}`;
  if (invited_by !== undefined && !isAddress(invited_by)) return "invited_by: an address such as bob@example.com";
  return { email, wants, invited_by };
}

// RFC 9457, as Evoke's own answers are.
const problem = (status: number, title: string, detail: string) =>
  Response.json({ title, status, detail }, { status, headers: { "content-type": "application/problem+json" } });
