// What the function writes to stdout and stderr, line by line, as LOG frames of the call that runs.
"use strict";

const { Writable } = require("node:stream");
const { KIND } = require("./channel.cjs");

const STDOUT = 1;
const STDERR = 2;

class Lines extends Writable {
  #lines = new Map(); // begun ones, by the call that writes them
  #line = null; // the one at hand: { rest, skipped }
  #callId;
  #number;
  #limits;
  #emit;
  #flush;

  constructor(number, limits, emit, flush, callId) {
    super({ decodeStrings: false });
    this.#number = number;
    this.#limits = limits;
    this.#emit = emit;
    this.#flush = flush;
    this.#callId = callId;
    this.fd = number;
    this.isTTY = false;
  }

  _write(chunk, _encoding, done) {
    this.#take();
    const text = typeof chunk === "string" ? chunk : chunk.toString("utf8");
    const lines = text.split("\n");
    const rest = lines.pop();
    for (const line of lines) {
      this.#add(line);
      this.#end();
    }
    this.#add(rest);
    this.#put();
    // At once: a function that never returns to the event loop shall be seen to have come this far.
    if (lines.length > 0) this.#flush();
    done();
  }

  finish() {
    this.#take();
    if (this.#line.rest !== "") this.#end();
    this.#put();
  }

  #take() {
    this.#line = this.#lines.get(this.#callId()) ?? { rest: "", skipped: 0 };
  }

  #put() {
    if (this.#line.rest === "") this.#lines.delete(this.#callId());
    else this.#lines.set(this.#callId(), this.#line);
  }

  // A function that writes for ever without a line end shall not fill the memory: beyond the limit it is counted.
  #add(text) {
    const room = this.#limits.lineBytes - this.#line.rest.length;
    if (text.length > room) {
      this.#line.skipped += Buffer.byteLength(text.slice(room), "utf8");
      text = text.slice(0, room);
    }
    this.#line.rest += text;
  }

  #end() {
    this.#emit(this.#number, this.#line.rest, this.#line.skipped);
    this.#line.rest = "";
    this.#line.skipped = 0;
  }
}

// Bytes kept free for the words at the end of a line that was cut.
const MARK = 32;

// At most `limit` bytes of a line, with how many are missing. Not cut within a character.
function cut(text, skipped, limit) {
  if (skipped === 0 && text.length <= limit) return text;
  const marked = limit > 4 * MARK;
  let room = Math.min(marked ? limit - MARK : limit, text.length);
  while (room > 0 && (text[room] & 0xc0) === 0x80) room -= 1;
  const mark = marked ? Buffer.from(` … ${skipped + text.length - room} more bytes`) : Buffer.alloc(0);
  return Buffer.concat([text.subarray(0, room), mark]);
}

// Replaces process.stdout and process.stderr, which `console` writes to. `callId()` is 0 when no call runs.
function capture(channel, callId) {
  const limits = { lineBytes: 8 << 10 };
  const emit = (number, line, skipped = 0) => {
    const whole = skipped === 0 && line.endsWith("\r") ? line.slice(0, -1) : line;
    const text = cut(Buffer.from(whole, "utf8"), skipped, limits.lineBytes);
    channel.send(KIND.LOG, callId(), Buffer.concat([Buffer.of(number), text]));
  };
  const streams = { stdout: null, stderr: null };
  for (const [name, number] of [["stdout", STDOUT], ["stderr", STDERR]]) {
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get: () => (streams[name] ??= new Lines(number, limits, emit, () => channel.flush(), callId)),
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
