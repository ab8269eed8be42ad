// A call for nothing in a zygote, so that what answers one is loaded and compiled before the fork, and not in each instance:
// Node.js loads much of what web style needs only when it is used. No code of the function runs.
"use strict";

const { Call } = require("./call.cjs");
const { Context } = require("./context.cjs");
const { bindings } = require("./bindings.cjs");

const TARGETS = {
  web: { fetch: async (request) => Response.json(await request.json()) },
  lambda: async (event) => ({ statusCode: 200, headers: { "content-type": "text/plain" }, body: event.body }),
};
const HEAD = JSON.stringify({
  run: "rehearsal",
  attempt: 1,
  deadline_ms: 0,
  cause: { root: "rehearsal", parent: null, depth: 0, trace_id: "", span_id: "" },
  request: { method: "POST", uri: "http://rehearsal/?a=b", headers: [["content-type", "application/json"]], params: [], client: null, body: true },
});
// Takes what would go to the host.
const NOWHERE = {
  send() {},
  sendJson: (_kind, _call, value) => void JSON.stringify(value),
  sendCredit() {},
  flush() {},
};

async function rehearse(name, contract, init) {
  const call = new Call(1, JSON.parse(HEAD), NOWHERE, init.limits);
  call.takeBody(Buffer.from("{}"), true);
  const env = bindings({}, call);
  try {
    await contract.request(TARGETS[name], call, env, new Context(call, init, env), init.name);
  } catch {
    // The function has put something of its own in the place of what Node.js has. Its calls will tell.
  }
  call.over = true;
}

module.exports = { rehearse };
