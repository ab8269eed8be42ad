// `ctx` of web-style handlers and `context` of Lambda-style ones: one object that has the fields of both.
"use strict";

const { next, nextPayload } = require("./next.cjs");

class Context {
  #call;
  #init;

  constructor(call, init, env) {
    this.#call = call;
    this.#init = init;
    const { run, attempt, cause } = call.head;
    this.run = run;
    this.attempt = attempt;
    this.cause = { root: cause.root, parent: cause.parent ?? null, depth: cause.depth, traceId: cause.trace_id, spanId: cause.span_id };
    this.params = Object.fromEntries(call.head.request?.params ?? []);
    this.app = init.app;
    this.function = init.function;
    this.revision = init.revision;
    // Bindings for Lambda-style handlers, which get no env.
    Object.defineProperty(this, "env", { value: env });
  }

  // Goes on along the route, for a function among its decorators. Web style: (request, init), and a Response; Lambda style:
  // (event), and what can be returned. Without an argument the request goes on as it came.
  next(input, init) {
    const call = this.#call;
    if (call.payload !== undefined) return nextPayload(call, input, call.payload);
    if (call.request === undefined) return Promise.reject(new TypeError("nothing follows an event: next is for requests"));
    return next(call, input, init);
  }

  // Keeps the call open until the promise settles, also when the response is out already.
  waitUntil(promise) {
    if (this.#call.over) throw new Error("waitUntil was called after the call was over");
    this.#call.waits.push(Promise.resolve(promise));
  }

  get deadline() {
    return new Date(this.#call.head.deadline_ms);
  }

  remainingTimeMs() {
    return Math.max(0, this.#call.head.deadline_ms - Date.now());
  }

  // Fires when the time limit is reached or the caller has gone away; shortly after, the process ends.
  get signal() {
    return this.#call.signal;
  }

  // Lambda's names.

  get awsRequestId() {
    return this.run;
  }
  get functionName() {
    return this.function;
  }
  get functionVersion() {
    return this.revision;
  }
  get invokedFunctionArn() {
    return `arn:evoke:lambda:local:${this.app}:function:${this.function}`;
  }
  get memoryLimitInMB() {
    return String(this.#init.memory_mib);
  }
  get logGroupName() {
    return `/evoke/${this.app}/${this.function}`;
  }
  get logStreamName() {
    return this.revision;
  }
  callbackWaitsForEmptyEventLoop = false;
  getRemainingTimeInMillis() {
    return this.remainingTimeMs();
  }
}

module.exports = { Context };
