// A process that has loaded a function and is forked for each of its instances. The fork itself, and the loop that waits for
// the host to want one, are an add-on (fork/). Here is what a fork would share and must not: looked for once (`obstacle`),
// or made anew in each instance (`refresh`).
"use strict";

const fs = require("node:fs");
const path = require("node:path");

// Resources that are there in the child as they were in the parent: they are memory, or the channel.
const COPIED = new Set(["CloseReq", "Immediate", "MessagePort", "Microtask", "PipeWrap", "TickObject", "Timeout"]);
// As many values as `crypto` keeps at hand, which a fork copies. Once they are used up it asks the system for new ones.
const UUIDS_KEPT = 128;
const INTEGERS_KEPT = 1024;

class Zygote {
  #addon;
  #fds;
  #threads;

  // To be called before the function is loaded.
  static async prepare() {
    const zygote = new Zygote();
    zygote.#addon = require("./fork.node");
    zygote.#addon.noWorkers();
    ownRandom(zygote.#addon);
    // Starts the threads of libuv, which knows how to go on without them after a fork. Any others are the function's.
    await fs.promises.stat("/");
    zygote.#fds = new Set(descriptors());
    zygote.#threads = threads();
    return zygote;
  }

  // Why this process must not be forked, in words, or null.
  async obstacle() {
    // What led here is not under way any more when this turn of the event loop is over.
    await nextTurn();
    const started = threads() > this.#threads ? "it starts threads" : null;
    return started ?? children() ?? this.#descriptors() ?? underWay();
  }

  #descriptors() {
    for (const fd of descriptors()) {
      if (this.#fds.has(fd)) continue;
      const stat = fs.fstatSync(fd);
      if (stat.isDirectory() || stat.isCharacterDevice()) continue;
      if (!stat.isFile()) return "it opens a socket, a pipe or an event loop";
      // The position in a file is shared. One that is only read from is mostly a map of data, which is what we are for.
      const flags = /^flags:\s*([0-7]+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
      if (flags === null || (parseInt(flags[1], 8) & 3) !== fs.constants.O_RDONLY) return "it opens a file to write to it";
    }
    return null;
  }

  // Sends `ready` to the host and forks instances for as long as that wants. Resolves in each of them, which is then like a
  // process that was just started; in the zygote itself, never.
  async run(ready) {
    leaveAtOnce(this.#addon);
    const crypto = process.moduleLoadList.includes("NativeModule internal/crypto/random") ? require("node:crypto") : null;
    // Once for nothing: what it takes is compiled then.
    refresh(process.env.TMPDIR ?? "", crypto);
    collectGarbage();
    // Not from within the poll phase: after a fork, descriptors that it has at hand are of no use.
    await nextTurn();
    const scratch = this.#addon.zygote(ready);
    refresh(scratch, crypto);
  }
}

// Open ones, without the one that their folder was read with.
function descriptors() {
  const open = (fd) => {
    try {
      return fs.fstatSync(fd) !== null;
    } catch {
      return false;
    }
  };
  return fs.readdirSync("/proc/self/fd").map(Number).filter(open);
}

function nextTurn() {
  return new Promise((next) => setImmediate(next));
}

function children() {
  try {
    return fs.readFileSync(`/proc/self/task/${process.pid}/children`, "latin1") === "" ? null : "it starts a process";
  } catch {
    return null; // a kernel without CONFIG_PROC_CHILDREN
  }
}

function threads() {
  return fs.readdirSync("/proc/self/task").length;
}

function underWay() {
  const names = process.getActiveResourcesInfo().filter((name) => !COPIED.has(name));
  return names.length === 0 ? null : `it leaves something under way (${[...new Set(names)].join(", ").slice(0, 200)})`;
}

// What is left then is old enough for the collector to leave it where it is, so that its pages stay shared.
function collectGarbage() {
  const v8 = require("node:v8");
  v8.setFlagsFromString("--expose-gc");
  require("node:vm").runInNewContext("gc")();
  v8.setFlagsFromString("--no-expose-gc");
}

let reseed;

// The generator of V8 cannot be seeded again, so another takes its place before anybody may have kept it: xoshiro128** by
// Blackman and Vigna, https://prng.di.unimi.it.
function ownRandom(addon) {
  let [a, b, c, d] = [0, 0, 0, 0];
  reseed = () => ([a, b, c, d] = [addon.random(), addon.random(), addon.random(), addon.random() | 1]);
  const bits = () => {
    const result = Math.imul(b, 5);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return Math.imul((result << 7) | (result >>> 25), 9) >>> 0;
  };
  reseed();
  const random = () => ((bits() >>> 5) * 0x4000000 + (bits() >>> 6)) / 0x20000000000000;
  Object.defineProperty(Math, "random", { value: random, writable: true, enumerable: false, configurable: true });
}

// What Node.js does to end waits for threads that a fork does not copy.
function leaveAtOnce(addon) {
  process.reallyExit = addon.exit;
  const fatal = process._fatalException;
  process._fatalException = (error, fromPromise) => {
    if (fatal.call(process, error, fromPromise)) return true;
    console.error(error);
    addon.exit(process.exitCode || 1);
  };
}

function refresh(scratch, crypto) {
  const pid = Number(fs.readlinkSync("/proc/self"));
  Object.defineProperty(process, "pid", { value: pid, writable: false, enumerable: true, configurable: true });
  require("node:module").syncBuiltinESMExports();
  const folder = path.dirname(scratch);
  for (const name of ["HOME", "TMPDIR"]) {
    // The function may have set its own.
    if (process.env[name] === folder) process.env[name] = scratch;
  }
  reseed();
  if (crypto === null) return;
  for (let nth = 0; nth < UUIDS_KEPT; nth++) crypto.randomUUID();
  for (let nth = 0; nth < INTEGERS_KEPT; nth++) crypto.randomInt(2);
}

module.exports = { Zygote };
