// Loaded once and forked once when a Node.js is first met: whether what functions do works in a process that was forked. A
// wrong answer, a crash or silence means that no function is.
"use strict";

const fs = require("node:fs");
const { randomUUID } = require("node:crypto");

const loadedBy = process.pid;
const before = randomUUID();
const WASM = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);

async function work() {
  let sum = 0;
  for (let nth = 0; nth < 2e6; nth++) sum += Math.sqrt(nth) % 2; // long enough to be optimised
  let kept = [];
  for (let nth = 0; nth < 1e5; nth++) kept.push({ nth }); // long enough to be collected
  kept = null;
  await new Promise((next) => setTimeout(next, 5));
  await fs.promises.readFile(__filename);
  await WebAssembly.compile(WASM);
  const { Worker } = require("node:worker_threads");
  await new Promise((ended, failed) => new Worker("1 + 1", { eval: true }).on("exit", ended).on("error", failed));
  return sum > 0;
}

exports.handler = async () => {
  if (process.pid === loadedBy) throw new Error("process.pid did not change");
  if (randomUUID() === before || !(await work())) throw new Error("what was computed is wrong");
  // Nothing, as the answer to an event.
};
