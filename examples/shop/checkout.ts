// POST /orders: takes an order, keeps it, and tells the rest of the shop.
//
// What happens here happens as one: the key-value write and the event are committed together, and only then is the
// client answered. If this function throws, or the server dies before the commit, there is neither order nor event.

import { isDeepStrictEqual } from "node:util";
import type { Env } from "../../sdk/node/evoke.d.ts";

interface Order {
  order_id: string;
  email: string;
  items: { sku: string; qty: number; price: number }[]; // price of one piece, in cents
}

export default {
  async fetch(request: Request, env: Env<{ CURRENCY: string }>): Promise<Response> {
    let body: unknown;
    try {
      body = await request.json();
    } catch {
      return refused(["the body is not JSON"]);
    }
    const faults = faultsOf(body);
    if (faults.length > 0) return refused(faults);

    const { order_id, email, items } = body as Order;
    const order = { order_id, email, items, total: items.reduce((sum, item) => sum + item.qty * item.price, 0) };
    const key = `order/${order_id}`;

    // A client that got no answer sends its order again. The order id tells us that we know it already.
    const known = await env.KV.get(key);
    if (known !== null) {
      if (isDeepStrictEqual(known, order)) return Response.json(order);
      return problem(409, "order id is taken", [`${order_id} is another order`]);
    }

    // Revision 0: only if the key is still absent when this is committed. If two requests with the same order id race,
    // one of them fails whole: no order, no event.
    await env.KV.put(key, order, { ifRevision: 0 });
    await env.EVENTS.publish({
      type: "purchase_complete",
      subject: `order-${order_id}`,
      data: { ...order, currency: env.CURRENCY },
    });
    console.log(`order ${order_id}: ${order.total} cents`);
    return Response.json(order, { status: 201 });
  },
};

function faultsOf(body: unknown): string[] {
  if (typeof body !== "object" || body === null) return ["the body is not an object"];
  const { order_id, email, items } = body as Partial<Order>;
  const faults: string[] = [];
  const countable = (n: unknown) => Number.isSafeInteger(n) && (n as number) > 0 && (n as number) <= 1_000_000;

  if (typeof order_id !== "string" || !/^[A-Za-z0-9-]{1,64}$/.test(order_id)) {
    faults.push("order_id: 1 to 64 letters, digits or -");
  }
  if (typeof email !== "string" || email.length > 254 || !/^[^\s@<>]+@[^\s@<>]+$/.test(email)) {
    faults.push("email: an address such as ada@example.com");
  }
  if (!Array.isArray(items) || items.length < 1 || items.length > 100) {
    faults.push("items: 1 to 100 of them");
  } else {
    items.forEach((item, i) => {
      if (typeof item?.sku !== "string" || item.sku === "") faults.push(`items[${i}].sku: a text`);
      if (!countable(item?.qty)) faults.push(`items[${i}].qty: a whole number from 1`);
      if (!countable(item?.price)) faults.push(`items[${i}].price: whole cents from 1`);
    });
  }
  return faults;
}

const refused = (faults: string[]) => problem(400, "this is not an order", faults);

// RFC 9457, as Evoke's own answers are.
function problem(status: number, title: string, faults: string[]): Response {
  return Response.json(
    { type: "about:blank", title, status, detail: faults.join("; ") },
    { status, headers: { "content-type": "application/problem+json" } },
  );
}
