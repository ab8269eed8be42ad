// The socket to the host at descriptor 3, and the frames on it. docs/reference/worker-protocol.md describes them.
"use strict";

const net = require("node:net");

const KIND = {
  INIT: 1, INVOKE: 2, BODY: 3, BODY_END: 4, BODY_ABORT: 5, CREDIT: 6, CANCEL: 7, ANSWER: 8, STOP: 9,
  READY: 17, INIT_ERROR: 18, RESPONSE: 19, DONE: 20, ERROR: 21, LOG: 22, PLATFORM: 23,
};
const HEADER_BYTES = 9;
const WINDOW_BYTES = 256 << 10;
const CHUNK_BYTES = 64 << 10;

// One whole frame.
function frame(kind, call, payload) {
  return Buffer.concat([header(kind, call, payload.length), payload]);
}

function header(kind, call, bytes) {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32LE(bytes, 0);
  header.writeUInt32LE(call, 4);
  header[8] = kind;
  return header;
}

class Channel {
  #socket;
  #out = [];
  #outBytes = 0;
  #flushing = false;
  #partial = null; // the beginning of a frame that has not arrived whole

  // `take(kind, call, buffer, start, end)` is called for each frame; the bytes are only valid during the call.
  // `taken()` is called after all frames of one read.
  open(take, taken) {
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#socket = new net.Socket({
      fd: 3,
      readable: true,
      writable: true,
      onread: {
        buffer,
        callback: (bytes) => {
          this.#cut(buffer, bytes, take);
          taken();
          return true;
        },
      },
    });
    this.#socket.on("error", () => process.reallyExit(1));
    this.#socket.on("close", () => process.reallyExit(0));
  }

  // Queues a frame. It leaves with the next flush, at the latest when this turn of the event loop ends.
  send(kind, call, payload) {
    const bytes = payload === undefined ? 0 : payload.length;
    this.#out.push(header(kind, call, bytes));
    if (bytes > 0) this.#out.push(payload);
    this.#outBytes += HEADER_BYTES + bytes;
    if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(() => {
        this.#flushing = false;
        this.flush();
      });
    }
  }

  sendJson(kind, call, value) {
    this.send(kind, call, Buffer.from(JSON.stringify(value), "utf8"));
  }

  sendCredit(call, bytes) {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32LE(bytes, 0);
    this.send(KIND.CREDIT, call, payload);
  }

  flush() {
    if (this.#outBytes === 0) return;
    this.#socket.write(this.#out.length === 1 ? this.#out[0] : Buffer.concat(this.#out, this.#outBytes));
    this.#out = [];
    this.#outBytes = 0;
  }

  // Resolves when all that was sent is out.
  drained() {
    this.flush();
    return new Promise((done) => this.#socket.write("", done));
  }

  #cut(buffer, bytes, take) {
    let all = buffer;
    let end = bytes;
    if (this.#partial !== null) {
      all = Buffer.concat([this.#partial, buffer.subarray(0, bytes)]);
      end = all.length;
      this.#partial = null;
    }
    let at = 0;
    while (end - at >= HEADER_BYTES) {
      const length = all.readUInt32LE(at);
      const start = at + HEADER_BYTES;
      if (end - start < length) break;
      take(all[at + 8], all.readUInt32LE(at + 4), all, start, start + length);
      at = start + length;
    }
    if (at < end) this.#partial = Buffer.from(all.subarray(at, end));
  }
}

module.exports = { Channel, frame, KIND, WINDOW_BYTES, CHUNK_BYTES };
