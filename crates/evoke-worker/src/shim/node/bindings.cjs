// `env`: the function's variables, and EVENTS, KV and FUNCTIONS over the platform API (docs/reference/platform-api.md).
"use strict";

const API = "http://evoke.internal";
const PAGE = 1000;

class EvokeError extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.title ?? `the platform answered with status ${status}`);
    this.name = "EvokeError";
    this.code = problem.code ?? "unknown";
    this.status = status;
  }
}

const JSON_TYPE = [["content-type", "application/json"]];
const BYTES_TYPE = [["content-type", "application/octet-stream"]];

function header(answer, name) {
  const found = answer.headers.find(([key]) => key === name);
  return found === undefined ? null : found[1];
}

function check(answer) {
  if (answer.status < 400) return answer;
  let problem = {};
  try {
    problem = JSON.parse(answer.body.toString("utf8"));
  } catch {
    // The status alone has to do.
  }
  throw new EvokeError(problem, answer.status);
}

function segment(text, what) {
  if (typeof text !== "string" || text === "") throw new TypeError(`${what} must be a string that is not empty`);
  if (text === ".") return "%2E";
  if (text === "..") return "%2E%2E";
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function toJson(value, what) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`${what} is ${typeof value}, which JSON does not have`);
  return Buffer.from(text, "utf8");
}

function toBytes(value, what) {
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError(`${what} must be a Uint8Array or an ArrayBuffer`);
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

// Seconds, or text such as "10m" or "1h30m".
function ttlMs(ttl, name = "ttl") {
  if (typeof ttl === "number" && Number.isFinite(ttl) && ttl > 0) return Math.max(1, Math.round(ttl * 1000));
  if (typeof ttl === "string" && /^(\d+(ms|s|m|h|d))+$/.test(ttl)) {
    let ms = 0;
    for (const [, number, unit] of ttl.matchAll(/(\d+)(ms|s|m|h|d)/g)) ms += Number(number) * UNITS[unit];
    if (ms > 0 && Number.isSafeInteger(ms)) return ms;
  }
  throw new TypeError(`${name} is ${JSON.stringify(ttl)}: give seconds (60) or a duration ("10m"), above zero`);
}

// The query that says when events are to be delivered.
function later(options) {
  const { delay, deliverAt } = options;
  if (delay !== undefined && delay !== null) {
    if (deliverAt !== undefined && deliverAt !== null) throw new TypeError("give delay or deliverAt, not both");
    return `?delay_ms=${ttlMs(delay, "delay")}`;
  }
  if (deliverAt === undefined || deliverAt === null) return "";
  const at = new Date(deliverAt);
  if (Number.isNaN(at.getTime())) throw new TypeError(`deliverAt is ${JSON.stringify(deliverAt)}: give a Date or a time such as "2026-11-21T08:00:00Z"`);
  return `?deliver_at=${at.toISOString()}`;
}

// A number must match; 0 and null mean "must be absent"; without the option anything goes.
function ifRevision(options) {
  if (!("ifRevision" in options)) return [];
  const revision = options.ifRevision ?? 0;
  if (options.ifRevision === undefined || !Number.isSafeInteger(revision) || revision < 0) {
    throw new TypeError(`ifRevision is ${options.ifRevision}: give a revision, 0 for "must be absent", or leave it out`);
  }
  return [["if-revision", String(revision)]];
}

class Kv {
  #call;
  #base;

  constructor(call, namespace) {
    this.#call = call;
    this.#base = `/v1/kv/${segment(namespace, "namespace")}`;
  }

  // Another part of the app's state; keys are separate.
  namespace(name) {
    return new Kv(this.#call, name);
  }

  // The JSON value at `key`, or null.
  async get(key) {
    return (await this.getEntry(key))?.value ?? null;
  }

  // { key, value, revision, expiresAt }, or null. The value of a key that was written with putBytes is a Uint8Array.
  async getEntry(key) {
    const answer = await this.#read(key);
    if (answer === null) return null;
    const json = header(answer, "content-type")?.startsWith("application/json");
    const value = json ? JSON.parse(answer.body.toString("utf8")) : new Uint8Array(answer.body);
    const expires = header(answer, "evoke-expires-at");
    return { key, value, revision: Number(header(answer, "evoke-revision")), expiresAt: expires === null ? null : new Date(expires) };
  }

  // The value's bytes as they are stored, or null.
  async getBytes(key) {
    const answer = await this.#read(key);
    return answer === null ? null : new Uint8Array(answer.body);
  }

  // Writes a JSON value; returns the revision. Options: ttl, ifRevision.
  async put(key, value, options = {}) {
    return this.#write(key, toJson(value, `value of ${key}`), JSON_TYPE, options);
  }

  async putBytes(key, value, options = {}) {
    return this.#write(key, toBytes(value, `value of ${key}`), BYTES_TYPE, options);
  }

  // Returns whether there was something to delete. Options: ifRevision.
  async delete(key, options = {}) {
    const answer = check(await this.#call.ask("DELETE", this.#path(key), ifRevision(options), null));
    return JSON.parse(answer.body.toString("utf8")).deleted;
  }

  // An array of { key, revision }, by key. Options: prefix, after (a key), limit (1000), values (adds value).
  async list({ prefix = "", after = "", limit = PAGE, values = false } = {}) {
    const entries = [];
    let from = after;
    while (entries.length < limit) {
      const query = new URLSearchParams({ limit: String(Math.min(PAGE, limit - entries.length)) });
      if (prefix !== "") query.set("prefix", prefix);
      if (from !== "") query.set("after", from);
      if (values) query.set("values", "true");
      const answer = check(await this.#call.ask("GET", `${this.#base}?${query}`, [], null));
      const page = JSON.parse(answer.body.toString("utf8"));
      for (const entry of page.entries) {
        const { bytes, ...plain } = entry;
        entries.push(bytes === undefined ? plain : { ...plain, value: new Uint8Array(Buffer.from(bytes, "base64")) });
      }
      if (page.next === undefined || page.next === null) break;
      from = page.next;
    }
    return entries;
  }

  #path(key) {
    return `${this.#base}/${segment(key, "key")}`;
  }

  async #read(key) {
    const answer = await this.#call.ask("GET", this.#path(key), [], null);
    if (answer.status === 404 && header(answer, "evoke-problem") !== "unknown_namespace") return null;
    return check(answer);
  }

  async #write(key, body, type, options) {
    const query = options.ttl === undefined || options.ttl === null ? "" : `?ttl_ms=${ttlMs(options.ttl)}`;
    const answer = check(await this.#call.ask("PUT", this.#path(key) + query, [...type, ...ifRevision(options)], body));
    return JSON.parse(answer.body.toString("utf8")).revision;
  }
}

class Events {
  #call;

  constructor(call) {
    this.#call = call;
  }

  // Publishes one event or an array of them, all or none; with `delay` or `deliverAt` to be delivered later. Returns
  // { id, source }, or an array of those.
  async publish(events, options = {}) {
    const many = Array.isArray(events);
    if (!many && (typeof events !== "object" || events === null)) throw new TypeError("publish takes an event or an array of events");
    if (many && events.length === 0) return [];
    const answer = check(await this.#call.ask("POST", `/v1/events${later(options)}`, JSON_TYPE, toJson(events, "event")));
    const published = JSON.parse(answer.body.toString("utf8")).events;
    return many ? published : published[0];
  }

  // Has the function `then` called when an event of the type `event` comes that passes `where` (CESQL) and `pattern`, or
  // after `timeout`; it gets `data` and the event. Returns { id, until }.
  async waitFor({ event, where, pattern, timeout, then, data }) {
    const wait = { event, where, pattern, timeout_ms: ttlMs(timeout, "timeout"), then, data };
    const answer = check(await this.#call.ask("POST", "/v1/waits", JSON_TYPE, toJson(wait, "wait")));
    return JSON.parse(answer.body.toString("utf8"));
  }
}

class Callee {
  #call;
  #name;

  constructor(call, name) {
    this.#call = call;
    this.#name = name;
  }

  // Like the global fetch; of the URL only path and query count, and "/path" alone will do.
  async fetch(input, init) {
    const request = new Request(typeof input === "string" ? new URL(input, API) : input, init);
    const url = new URL(request.url);
    const body = request.body === null ? null : Buffer.from(await request.arrayBuffer());
    const path = `/v1/functions/${segment(this.#name, "function")}${url.pathname}${url.search}`;
    const answer = await this.#call.ask(request.method, path, [...request.headers], body);
    if (header(answer, "evoke-problem") !== null) check(answer);
    const empty = answer.body.length === 0 || [204, 205, 304].includes(answer.status);
    return new Response(empty ? null : answer.body, { status: answer.status, headers: answer.headers });
  }
}

// `variables` are the function's own; the bindings belong to this one call.
function bindings(variables, call) {
  const functions = new Proxy(Object.freeze({}), {
    get: (_, name) => (typeof name === "string" && name !== "then" ? new Callee(call, name) : undefined),
  });
  return { ...variables, EVENTS: new Events(call), KV: new Kv(call, "default"), FUNCTIONS: functions };
}

module.exports = { bindings, EvokeError };
