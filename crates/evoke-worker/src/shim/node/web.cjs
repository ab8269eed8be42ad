// `export default { fetch(request, env, ctx), event(event, env, ctx) }`.
"use strict";

const { returnedEvents } = require("./event.cjs");
const { BODY, INCOMING, incoming, nameOf } = require("./next.cjs");

async function request(target, call, env, ctx, source) {
  if (typeof target.fetch !== "function") {
    throw new TypeError(`the function got a request, but ${source} has no fetch handler: add fetch(request, env, ctx) to its default export`);
  }
  call.request = toRequest(call);
  const response = await target.fetch(call.request, env, ctx);
  await answer(call, response);
}

async function event(target, call, env, ctx, source) {
  if (typeof target.event !== "function") {
    throw new TypeError(`the function got an event, but ${source} has no event handler: add event(event, env, ctx) to its default export`);
  }
  return returnedEvents(await target.event(call.head.event, env, ctx), "the event handler");
}

function toRequest(call) {
  const { method, uri, headers, next, body } = call.head.request;
  const init = { method, headers };
  if (next && body && method !== "GET" && method !== "HEAD") {
    init.body = incoming(call);
    init.duplex = "half";
  } else if (method !== "GET" && method !== "HEAD") {
    const whole = call.wholeBody();
    if (whole === null) {
      init.body = new ReadableStream({ pull: (controller) => pull(call, controller) }, { highWaterMark: 0 });
      init.duplex = "half";
    } else if (whole.length > 0) {
      init.body = whole;
    }
  }
  return new Request(uri, init);
}

async function pull(call, controller) {
  const chunk = await call.nextChunk();
  if (chunk === null) controller.close();
  else controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
}

async function answer(call, response) {
  // Not instanceof: a function may bring a Response of its own.
  if (typeof response !== "object" || response === null || !Number.isInteger(response.status) || typeof response.headers?.forEach !== "function") {
    throw new TypeError(`the fetch handler returned ${response === null ? "null" : typeof response}, not a Response`);
  }
  if (response.status < 200) throw new TypeError(`the fetch handler returned a Response with status ${response.status}`);
  const headers = [...response.headers];
  if (response.body === null || call.head.request.method === "HEAD") {
    await response.body?.cancel();
    return call.respond(response.status, headers, false);
  }
  const name = nameOf(response.body);
  if (name !== null && name !== INCOMING) {
    return call.respond(response.status, [...headers.filter(([field]) => field !== BODY), [BODY, name]], false);
  }
  const reader = response.body.getReader();
  call.respond(response.status, headers, true);
  await call.stream(async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return null;
      if (!(value instanceof Uint8Array)) throw new TypeError("the body of the Response gave something that is not a Uint8Array");
      if (value.length > 0) return value;
    }
  });
}

module.exports = { request, event };
