// Requests that the function sends over the network tell which of its calls sent them: `traceparent` (W3C Trace Context) and
// `CDN-Loop` (RFC 8586). So a request that comes back to the platform, also through other servers, belongs to the chain it
// is part of. What the function sets by itself stays as it is.
"use strict";

const { subscribe } = require("node:diagnostics_channel");

// `running()` is the call in whose name code runs, or null. To be called before the function is loaded, which may hold on to
// functions of the modules that are changed here.
function mark(running) {
  const fields = () => {
    const { cause, hops } = running()?.head ?? {};
    return hops === undefined ? null : [["traceparent", `00-${cause.trace_id}-${cause.span_id}-01`], ["cdn-loop", hops]];
  };
  // fetch, and whatever else is built upon undici.
  subscribe("undici:request:create", ({ request }) => {
    const own = fields();
    if (own === null) return;
    const there = namesOf(request.headers);
    for (const [name, value] of own) if (!there.has(name)) request.addHeader(name, value);
  });
  for (const module of [require("node:http"), require("node:https")]) {
    const { request: send } = module;
    module.request = function request(...wanted) {
      const request = send.apply(this, wanted);
      const own = request.headersSent ? null : fields();
      for (const [name, value] of own ?? []) if (!request.hasHeader(name)) request.setHeader(name, value);
      return request;
    };
    module.get = function get(...wanted) {
      const request = module.request(...wanted);
      request.end();
      return request;
    };
  }
  require("node:module").syncBuiltinESMExports();
}

// undici keeps header fields as text or, newer, as a list of names and values by turns.
function namesOf(headers) {
  const names = Array.isArray(headers) ? headers.filter((_, at) => at % 2 === 0).map(String) : String(headers ?? "").match(/^[^:\r\n]+/gm) ?? [];
  return new Set(names.map((name) => name.toLowerCase()));
}

module.exports = { mark };
