// `ctx.next()`: goes on along a route, in a function that is one of its decorators. A body that nobody reads stays with the host,
// and is only named (docs/reference/decorators.md).
"use strict";

const { EvokeError } = require("./bindings.cjs");

const BODY = "evoke-body";
const INCOMING = "incoming";
const BODILESS = [204, 205, 304];

// Bodies that are with the host: stream → { name, isRead }.
const held = new WeakMap();

// A stream whose chunks `read()` gives, until it gives null, and which the host knows as `name`.
function hold(name, read) {
  const state = { name, isRead: false };
  const pull = async (controller) => {
    state.isRead = true;
    const chunk = await read();
    if (chunk === null) controller.close();
    else controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
  };
  const stream = new ReadableStream({ pull }, { highWaterMark: 0 });
  held.set(stream, state);
  return stream;
}

// What the host calls the body, while nobody has read from it.
function nameOf(stream) {
  const state = stream === null ? undefined : held.get(stream);
  return state === undefined || state.isRead || stream.locked ? null : state.name;
}

// The body of the request that came, for a decorator.
function incoming(call) {
  install();
  return hold(INCOMING, () => call.nextChunk());
}

// `new Request(request, { headers })` reads the body of the first through the second. With a body that is with the host it
// moves instead.
function install() {
  const Native = globalThis.Request;
  if (Native.evokeMoves) return;
  const construct = (target, [input, init, ...rest], newTarget) => {
    const moves = input instanceof target && nameOf(input.body) === INCOMING && (init?.body === undefined || init.body === null);
    if (!moves) return Reflect.construct(target, [input, init, ...rest], newTarget === Request ? target : newTarget);
    const fields = { method: input.method, headers: input.headers, signal: input.signal, redirect: input.redirect, ...init };
    const bodiless = ["GET", "HEAD"].includes(String(fields.method).toUpperCase());
    const body = bodiless ? {} : { body: input.body, duplex: "half" };
    return Reflect.construct(target, [input.url, { ...fields, ...body }], newTarget === Request ? target : newTarget);
  };
  const get = (target, name) => (name === "evokeMoves" ? true : Reflect.get(target, name));
  globalThis.Request = new Proxy(Native, { construct, get });
}

// Goes on with `input`, or with the request as it came, changed as `init` says. Resolves with the Response.
async function next(call, input, init = {}) {
  const request = input ?? call.request;
  const headers = new Headers(init.headers ?? request.headers);
  const method = (init.method ?? request.method).toUpperCase();
  let body = null;
  if (init.body !== undefined && init.body !== null) {
    const given = new Response(init.body);
    body = Buffer.from(await given.arrayBuffer());
    const type = given.headers.get("content-type");
    if (type !== null && !headers.has("content-type")) headers.set("content-type", type);
  } else if (request.body !== null && init.body === undefined) {
    if (nameOf(request.body) === INCOMING) headers.set(BODY, INCOMING);
    else if (request.bodyUsed) throw new TypeError("the body of the request was read: pass it on with ctx.next(request, { body })");
    else body = Buffer.from(await request.arrayBuffer());
  }
  const came = new URL(call.head.request.uri);
  const url = new URL(request.url, came);
  const path = url.href === came.href ? "" : url.pathname + url.search;
  return toResponse(call, await ask(call, method, path, [...headers], body));
}

// The same for handlers that speak function-URL payloads; the answer can be returned as it is, or with another `body`.
async function nextPayload(call, payload, came) {
  const event = payload ?? came;
  const fields = Object.entries(event.headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]);
  if (event.cookies?.length > 0) fields.push(["cookie", event.cookies.join("; ")]);
  const text = event.body;
  const body = text === undefined || text === null ? null : Buffer.from(text, event.isBase64Encoded ? "base64" : "utf8");
  const query = event.rawQueryString ? `?${event.rawQueryString}` : "";
  const url = new URL(call.head.request.uri);
  const moved = event.rawPath !== call.payload.rawPath || query !== url.search;
  const path = moved ? encodeURI(event.rawPath) + query : "";
  const answer = await ask(call, event.requestContext.http.method, path, fields, body);
  return new Answer(call, answer);
}

// What is next answered, as a function-URL response. `evoke-body` among its headers stands for its body.
class Answer {
  #call;

  constructor(call, answer) {
    this.#call = call;
    this.statusCode = answer.status;
    this.headers = {};
    this.cookies = [];
    for (const [name, value] of answer.headers) {
      if (name === "set-cookie") this.cookies.push(value);
      else this.headers[name] = name in this.headers ? `${this.headers[name]}, ${value}` : value;
    }
  }

  // Reads the body, which is not passed on by itself any more.
  async bytes() {
    const name = this.headers[BODY];
    if (name === undefined) return Buffer.from(this.body ?? "", this.isBase64Encoded ? "base64" : "utf8");
    delete this.headers[BODY];
    const chunks = [];
    for (let chunk = await part(this.#call, name); chunk !== null; chunk = await part(this.#call, name)) chunks.push(chunk);
    this.body = Buffer.concat(chunks);
    return this.body;
  }

  async text() {
    return (await this.bytes()).toString("utf8");
  }

  async json() {
    return JSON.parse(await this.text());
  }
}

async function ask(call, method, path, headers, body) {
  const answer = await call.ask(method, `/v1/next${path}`, headers, body);
  return check(answer);
}

function check(answer) {
  const field = (wanted) => answer.headers.find(([name]) => name === wanted)?.[1];
  if (field("evoke-refused") === undefined && field("evoke-problem") !== "nothing_next") return answer;
  let problem = {};
  try {
    problem = JSON.parse(answer.body.toString("utf8"));
  } catch {
    // The status alone has to do.
  }
  throw new EvokeError(problem, answer.status);
}

// The next part of a body that is with the host, or null at its end.
async function part(call, name) {
  const answer = check(await call.ask("GET", `/v1/next-body/${name}`, [], null));
  return answer.body.length === 0 ? null : answer.body;
}

function toResponse(call, answer) {
  const headers = new Headers();
  let name = null;
  for (const [field, value] of answer.headers) {
    if (field === BODY) name = value;
    else headers.append(field, value);
  }
  const body = name === null || BODILESS.includes(answer.status) ? null : hold(name, () => part(call, name));
  return new Response(body, { status: answer.status, headers });
}

module.exports = { BODY, INCOMING, incoming, nameOf, next, nextPayload };
