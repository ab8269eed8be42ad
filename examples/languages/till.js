// A till, in JavaScript on StarlingMonkey: requests and responses as in a browser's service worker, WASI HTTP 0.2.

import { getEnvironment } from "wasi:cli/environment@0.2.10";

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname } = new URL(request.url);
  const lines = pathname.match(/^\/till\/lines\/(\d+)$/);
  if (lines) return new Response(count(Number(lines[1])), { headers: { "content-type": "text/plain" } });
  if (pathname === "/till/wait") return new Promise(() => setTimeout(() => {}, 3_600_000));
  if (pathname === "/till/loop") for (;;);
  return sell(await request.json());
}

// One line at a time: what is read slowly is written slowly.
function count(to) {
  let line = 0;
  const pull = (body) =>
    line < to ? body.enqueue(new TextEncoder().encode(`line ${++line}\n`)) : body.close();
  return new ReadableStream({ pull });
}

// Numbers the receipt by a counter of the app, which it asks the platform for.
async function sell({ item, price }) {
  const { EVOKE_API, CURRENCY, SIGNED_BY } = Object.fromEntries(getEnvironment());
  const counter = `${EVOKE_API}/v1/kv/default/receipts`;
  const found = await fetch(counter);
  const number = (found.ok ? await found.json() : 0) + 1;
  const headers = { "content-type": "application/json" };
  await fetch(counter, { method: "PUT", headers, body: JSON.stringify(number) });
  console.error(`sold ${item}`);
  const receipt = { number, item, total: `${price} ${CURRENCY}`, by: SIGNED_BY };
  return Response.json(receipt, { status: 201, headers: { "x-receipt": String(number) } });
}
