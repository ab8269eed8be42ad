// What the function writes to stdout and stderr, line by line, as LOG frames of the call that runs.
"use strict";

const { Writable } = require("node:stream");
const { KIND } = require("./channel.cjs");

const STDOUT = 1;
const STDERR = 2;

class Lines extends Writable {
  #rest = "";
  #number;
  #emit;
  #flush;

  constructor(number, emit, flush) {
    super({ decodeStrings: false });
    this.#number = number;
    this.#emit = emit;
    this.#flush = flush;
    this.fd = number;
    this.isTTY = false;
  }

  _write(chunk, _encoding, done) {
    const text = this.#rest + (typeof chunk === "string" ? chunk : chunk.toString("utf8"));
    const lines = text.split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#emit(this.#number, line);
    // At once: a function that never returns to the event loop shall be seen to have come this far.
    if (lines.length > 0) this.#flush();
    // A function that writes for ever without a line end shall not fill the memory.
    if (this.#rest.length > 64 << 10) this.finish();
    done();
  }

  finish() {
    if (this.#rest === "") return;
    this.#emit(this.#number, this.#rest);
    this.#rest = "";
  }
}

// Replaces process.stdout and process.stderr, which `console` writes to. `callId()` is 0 when no call runs.
function capture(channel, callId) {
  const limits = { lineBytes: 8 << 10 };
  const emit = (number, line) => {
    let text = Buffer.from(line.endsWith("\r") ? line.slice(0, -1) : line, "utf8");
    if (text.length > limits.lineBytes) text = text.subarray(0, limits.lineBytes);
    channel.send(KIND.LOG, callId(), Buffer.concat([Buffer.of(number), text]));
  };
  const streams = { stdout: null, stderr: null };
  for (const [name, number] of [["stdout", STDOUT], ["stderr", STDERR]]) {
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get: () => (streams[name] ??= new Lines(number, emit, () => channel.flush())),
    });
  }
  return {
    limits,
    finish() {
      streams.stdout?.finish();
      streams.stderr?.finish();
    },
    error(text) {
      for (const line of text.split("\n")) emit(STDERR, line);
    },
  };
}

module.exports = { capture };
