// One call as the shim sees it: the request's body on its way in, the response on its way out, platform requests.
"use strict";

const { KIND, WINDOW_BYTES, CHUNK_BYTES } = require("./channel.cjs");

// Credit is given back in portions, to spare frames.
const GRANT_BYTES = WINDOW_BYTES / 4;

class Call {
  constructor(id, head, channel, limits) {
    this.id = id;
    this.head = head;
    this.channel = channel;
    this.limits = limits;
    this.over = false;
    this.waits = []; // promises given to ctx.waitUntil
    this.abort = null; // AbortController, made when somebody asks for the signal
    this.cancelled = null; // why, once it is
    // Request body.
    this.chunks = [];
    this.bodyEnded = head.request === undefined || !head.request.body;
    this.bodyError = null;
    this.bodyWaiter = null;
    this.bodyRead = 0;
    // Response body.
    this.credit = WINDOW_BYTES;
    this.creditWaiter = null;
    // Platform requests.
    this.asked = new Map();
    this.settledWaiter = null;
    this.queue = [];
  }

  // Frames from the host.

  takeBody(bytes, last) {
    if (bytes.length > 0) this.chunks.push(bytes);
    if (last) this.bodyEnded = true;
    this.#wakeBody();
  }

  takeAbort(why) {
    this.bodyError = new Error(`request ${why}`);
    this.bodyEnded = true;
    this.#wakeBody();
  }

  takeCredit(bytes) {
    this.credit += bytes;
    const wake = this.creditWaiter;
    this.creditWaiter = null;
    wake?.();
  }

  takeCancel(why) {
    this.cancelled = why;
    this.abort?.abort(this.#cancelReason());
  }

  takeAnswer(number, head, body) {
    const settle = this.asked.get(number);
    if (settle === undefined) return;
    this.asked.delete(number);
    settle({ status: head.status, headers: head.headers, body });
    if (this.queue.length > 0) this.queue.shift()();
    else if (this.asked.size === 0) this.#wakeSettled();
  }

  get signal() {
    if (this.abort === null) {
      this.abort = new AbortController();
      if (this.cancelled !== null) this.abort.abort(this.#cancelReason());
    }
    return this.abort.signal;
  }

  #cancelReason() {
    return new DOMException(this.cancelled === "deadline" ? "the time limit was reached" : "the call was cancelled", "AbortError");
  }

  // The request's body.

  // The next chunk, or null at the end.
  async nextChunk() {
    while (this.chunks.length === 0) {
      if (this.bodyError !== null) throw this.bodyError;
      if (this.bodyEnded) return null;
      await new Promise((wake) => (this.bodyWaiter = wake));
    }
    const chunk = this.chunks.shift();
    this.bodyRead += chunk.length;
    if (this.bodyRead >= GRANT_BYTES && !this.bodyEnded && !this.over) {
      this.channel.sendCredit(this.id, this.bodyRead);
      this.bodyRead = 0;
    }
    return chunk;
  }

  // All of it, if it has arrived already and nobody has read from it.
  wholeBody() {
    if (!this.bodyEnded || this.bodyError !== null) return null;
    const all = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks);
    this.chunks = [];
    return all;
  }

  async readBody() {
    const chunks = [];
    let bytes = 0;
    for (let chunk = await this.nextChunk(); chunk !== null; chunk = await this.nextChunk()) {
      bytes += chunk.length;
      if (bytes > this.limits.body_bytes) throw new RangeError(`request body is larger than the limit of ${this.limits.body_bytes} bytes`);
      chunks.push(chunk);
    }
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
  }

  #wakeBody() {
    const wake = this.bodyWaiter;
    this.bodyWaiter = null;
    wake?.();
  }

  // The response.

  respond(status, headers, body) {
    this.channel.sendJson(KIND.RESPONSE, this.id, { status, headers, body });
  }

  // Sends a whole body. Waits for credit where it is larger than the window.
  async sendWhole(bytes) {
    if (bytes.length <= CHUNK_BYTES) return this.channel.send(KIND.BODY_END, this.id, bytes);
    await this.sendChunk(bytes);
    this.channel.send(KIND.BODY_END, this.id);
  }

  async sendChunk(bytes) {
    for (let at = 0; at < bytes.length && !this.over; ) {
      while (this.credit === 0) await new Promise((wake) => (this.creditWaiter = wake));
      const part = bytes.subarray(at, at + Math.min(CHUNK_BYTES, this.credit));
      this.credit -= part.length;
      at += part.length;
      this.channel.send(KIND.BODY, this.id, part);
    }
  }

  // Streams what `read()` gives, until it gives null. A chunk is held back until the next one is known or this turn of
  // the event loop ends, so that a body of one chunk goes as one frame.
  async stream(read) {
    let held = await read();
    while (held !== null) {
      const chunk = held;
      let released = null;
      const release = () => (released ??= this.sendChunk(chunk));
      const timer = setImmediate(release);
      try {
        held = await read();
      } finally {
        clearImmediate(timer);
      }
      if (held === null && released === null && chunk.length <= Math.min(CHUNK_BYTES, this.credit)) {
        this.credit -= chunk.length;
        return this.channel.send(KIND.BODY_END, this.id, chunk);
      }
      await release();
    }
    this.channel.send(KIND.BODY_END, this.id);
  }

  // Platform requests.

  // Resolves with { status, headers, body }.
  ask(method, path, headers, body) {
    if (this.over) return Promise.reject(new Error("the call is over: this binding belongs to it and cannot be used any more"));
    const asked = new Promise((settle) => {
      const send = () => {
        const number = Call.#nextRequest;
        Call.#nextRequest = (number + 1) >>> 0;
        this.asked.set(number, settle);
        const head = Buffer.from(JSON.stringify({ method, path, headers }), "utf8");
        const numbers = Buffer.allocUnsafe(8);
        numbers.writeUInt32LE(number, 0);
        numbers.writeUInt32LE(head.length, 4);
        const bytes = body === null ? Buffer.alloc(0) : body;
        this.channel.send(KIND.PLATFORM, this.id, Buffer.concat([numbers, head, bytes]));
      };
      if (this.asked.size < this.limits.platform_in_flight) send();
      else this.queue.push(send);
    });
    return asked;
  }

  static #nextRequest = 1;

  // Waits for what the function started and did not wait for: platform requests, and what it gave to waitUntil.
  async settled() {
    while (this.waits.length > 0) {
      const waits = this.waits;
      this.waits = [];
      for (const result of await Promise.allSettled(waits)) {
        if (result.status === "rejected") throw result.reason;
      }
    }
    while (this.asked.size > 0) {
      await new Promise((wake) => (this.settledWaiter = wake));
      // A refusal that nobody handles shows itself when the queue of microtasks is empty.
      await new Promise((next) => setImmediate(next));
    }
  }

  #wakeSettled() {
    const wake = this.settledWaiter;
    this.settledWaiter = null;
    wake?.();
  }
}

module.exports = { Call };
