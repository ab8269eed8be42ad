// On purchase_complete: adds to the totals. GET /ledger: shows them.
//
// Each event counts once. The write is committed in the same transaction that marks the event's delivery as done, so an
// attempt that is interrupted and made again finds the totals as if it had never run.

import type { CloudEvent, Env } from "../../sdk/node/evoke.d.ts";

interface Totals {
  orders: number;
  cents: number;
}

export default {
  async event(event: CloudEvent<{ total: number }>, env: Env): Promise<void> {
    const entry = await env.KV.getEntry<Totals>("ledger");
    const { orders, cents } = entry?.value ?? { orders: 0, cents: 0 };
    const totals = { orders: orders + 1, cents: cents + event.data.total };
    // Compare-and-set: only if nobody else changed the key since we read it (0: if it is still absent).
    await env.KV.put("ledger", totals, { ifRevision: entry?.revision ?? 0 });
  },

  async fetch(_request: Request, env: Env): Promise<Response> {
    return Response.json((await env.KV.get("ledger")) ?? { orders: 0, cents: 0 });
  },
};
