// The program of a Node.js worker: loads one function and runs its calls, one at a time or several at once.
"use strict";

const { Channel, frame, KIND } = require("./channel.cjs");
const { Call } = require("./call.cjs");
const { Context } = require("./context.cjs");
const { bindings } = require("./bindings.cjs");
const { capture } = require("./logs.cjs");
const { load } = require("./load.cjs");
const { rehearse } = require("./rehearse.cjs");
const { Zygote } = require("./zygote.cjs");
const errors = require("./errors.cjs");
const contracts = { web: require("./web.cjs"), lambda: require("./lambda.cjs") };

const PROTOCOL = 1;

const channel = new Channel();
const calls = new Map(); // those that run, by number
let contexts = null; // AsyncLocalStorage of the call whose code runs, where several may
let starting = []; // calls whose frames are being read
let loaded = null; // { contract, target }
let ready = false; // for calls
let init = null;
let variables = {};
let ending = false;

// The call in whose name code runs, or null.
function running() {
  if (contexts === null) return calls.values().next().value ?? null;
  const call = contexts.getStore();
  return call === undefined || call.over ? null : call;
}

const logs = capture(channel, () => running()?.id ?? 0);

channel.open((kind, id, buffer, start, end) => {
  const json = () => JSON.parse(buffer.utf8Slice(start, end));
  const copy = () => Buffer.from(buffer.subarray(start, end));
  if (kind === KIND.INVOKE) {
    const call = new Call(id, json(), channel, init.limits);
    calls.set(id, call);
    starting.push(call);
    return;
  }
  if (id === 0) {
    if (kind === KIND.INIT) begin(json());
    else if (kind === KIND.STOP) process.exit(0);
    return;
  }
  // What comes for a call that is over is of no interest.
  const current = calls.get(id);
  if (current === undefined) return;
  switch (kind) {
    case KIND.BODY: current.takeBody(copy(), false); break;
    case KIND.BODY_END: current.takeBody(copy(), true); break;
    case KIND.BODY_ABORT: current.takeAbort(buffer.utf8Slice(start, end)); break;
    case KIND.CREDIT: current.takeCredit(buffer.readUInt32LE(start)); break;
    case KIND.CANCEL: current.takeCancel(buffer.utf8Slice(start, end)); break;
    case KIND.ANSWER: {
      const headEnd = start + 8 + buffer.readUInt32LE(start + 4);
      const head = JSON.parse(buffer.utf8Slice(start + 8, headEnd));
      current.takeAnswer(buffer.readUInt32LE(start), head, Buffer.from(buffer.subarray(headEnd, end)));
      break;
    }
  }
}, () => {
  // Only now: a small body that came along with its INVOKE is there as a whole.
  if (starting.length === 0) return;
  const begun = starting;
  starting = [];
  for (const call of begun) {
    if (contexts === null) run(call);
    else contexts.run(call, run, call);
  }
});

async function begin(message) {
  init = message;
  errors.setRoot(init.root);
  logs.limits.lineBytes = init.limits.log_line_bytes;
  variables = Object.fromEntries(init.env.map((name) => [name, process.env[name]]));
  try {
    // In a process that was forked it is loaded.
    if (loaded === null) {
      if (init.sends) require("./outgoing.cjs").mark(running);
      const zygote = init.zygote ? await Zygote.prepare() : null;
      loaded = await load(init);
      if (zygote !== null && (await fork(zygote))) return; // what is to be loaded, each instance is told once more
    }
    await loaded.afterFork?.();
    // Following contexts costs every promise a little.
    if (init.concurrency > 1) contexts ??= new (require("node:async_hooks").AsyncLocalStorage)();
    ready = true;
    logs.finish();
    channel.sendJson(KIND.READY, 0, { ...describe(), concurrency: init.concurrency });
  } catch (error) {
    fail(error);
  }
}

// Becomes a zygote, and returns in each instance that is forked from it: true. Where it must not be forked it is the one
// instance itself: false.
async function fork(zygote) {
  const obstacle = await zygote.obstacle();
  if (obstacle !== null) {
    console.error(`evoke: each instance loads ${init.name} anew: ${obstacle} when it is loaded`);
    return false;
  }
  await rehearse(loaded.contract, contracts[loaded.contract], init);
  logs.finish();
  await channel.drained();
  await zygote.run(frame(KIND.READY, 0, Buffer.from(JSON.stringify({ ...describe(), zygote: true }))));
  return true;
}

function describe() {
  return { protocol: PROTOCOL, runtime: `node ${process.versions.node}`, contract: loaded.contract };
}

async function run(call) {
  const env = bindings(variables, call);
  const ctx = new Context(call, init, env);
  const contract = contracts[loaded.contract];
  let done = {};
  let failure = null;
  try {
    if (call.head.event === undefined) await contract.request(loaded.target, call, env, ctx, init.name);
    else done = { events: await contract.event(loaded.target, call, env, ctx, init.name) };
    if (call.waits.length > 0 || call.asked.size > 0) await call.settled();
  } catch (error) {
    failure = errors.describe(error);
  }
  if (ending) return;
  logs.finish();
  call.over = true;
  if (failure === null) {
    try {
      channel.sendJson(KIND.DONE, call.id, done);
    } catch (error) {
      failure = errors.describe(error);
    }
  }
  if (failure !== null) channel.sendJson(KIND.ERROR, call.id, failure);
  calls.delete(call.id);
  channel.flush();
}

// Ends the process after an error that is no call's own result.
function fail(error, note) {
  if (ending) return;
  ending = true;
  const described = errors.describe(error);
  if (note) described.message = `${note}: ${described.message}`;
  logs.finish();
  if (!ready) channel.sendJson(KIND.INIT_ERROR, 0, { ...described, ...errors.place(error) });
  else if (calls.size > 0) endCalls(described);
  else logs.error(`${note ?? "error"} outside of any call: ${described.stack ?? described.message}`);
  channel.flush();
  process.exit(1);
}

// The last frames of the call whose code ended the process, or of all when nobody knows which that was.
function endCalls(described) {
  const culprit = running();
  for (const call of culprit === null ? calls.values() : [culprit]) {
    channel.sendJson(KIND.ERROR, call.id, { ...described, fatal: true });
  }
}

process.on("uncaughtException", (error, origin) => {
  fail(error, origin === "unhandledRejection" ? "unhandled rejection" : !ready ? undefined : "uncaught exception");
});

process.on("exit", (code) => {
  if (ending || (ready && calls.size === 0)) return;
  const error = new Error(`process.exit(${code}) was called ${!ready ? "while loading" : "during the call"}`);
  error.name = "ProcessExit";
  error.stack = "";
  ending = true;
  logs.finish();
  if (!ready) channel.sendJson(KIND.INIT_ERROR, 0, errors.describe(error));
  else endCalls(errors.describe(error));
  channel.flush();
});
