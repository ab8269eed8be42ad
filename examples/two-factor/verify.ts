// POST /verify { id, code }: 200 for the right code, once. Five wrong ones, and the challenge is over.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { Env } from "../../sdk/node/evoke.d.ts";

type Variables = { CODE_KEY: string; LOGIN_KEY: string; ATTEMPTS: string };

interface Challenge {
  user: string;
  hash: string;
  failures: number;
  expires: number; // seconds since 1970
}

export default {
  async fetch(request: Request, env: Env<Variables>): Promise<Response> {
    if (!same(request.headers.get("authorization") ?? "", `Bearer ${env.LOGIN_KEY}`)) return problem(401, "not the login service");
    const { id, code } = await request.json();

    const key = `challenge/${id}`;
    const entry = await env.KV.getEntry<Challenge>(key); // gone when its time is up
    if (entry === null) return problem(410, "no such challenge: it was used, it expired, or its code has not been sent yet");
    const { value: challenge, revision } = entry;

    // Each write below is a compare-and-set. Of two requests at once only one gets through; of the other nothing is kept, and
    // Evoke makes it again, since this function has no way to the outside. So a code is good once, and no guess goes uncounted.
    const digest = createHmac("sha256", env.CODE_KEY).update(`${id}:${code}`).digest("hex");
    if (same(digest, challenge.hash)) {
      await env.KV.delete(key, { ifRevision: revision });
      return Response.json({ user: challenge.user });
    }
    const failures = challenge.failures + 1;
    const left = Number(env.ATTEMPTS) - failures;
    if (left <= 0) {
      await env.KV.delete(key, { ifRevision: revision });
      return problem(403, "too many wrong codes: log in again", { attempts_left: 0 });
    }
    const ttl = Math.max(challenge.expires - Date.now() / 1000, 0.001);
    await env.KV.put(key, { ...challenge, failures }, { ifRevision: revision, ttl });
    const expires = new Date(challenge.expires * 1000).toISOString();
    return problem(403, "wrong code", { attempts_left: left, expires });
  },
};

/** Takes the same time wherever they differ. */
function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

const problem = (status: number, title: string, more = {}) =>
  Response.json({ title, status, ...more }, { status, headers: { "content-type": "application/problem+json" } });
