// Errors of the function as the host wants to hear of them.
"use strict";

const TEXT_MAX = 16 << 10;
let root = "";

function setRoot(folder) {
  root = folder;
}

// Paths as the author knows them: relative to the app.
function relative(text) {
  if (root === "") return text;
  return text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "");
}

function describe(thrown) {
  if (!(thrown instanceof Error) && (typeof thrown !== "object" || thrown === null || typeof thrown.message !== "string")) {
    let text;
    try {
      text = typeof thrown === "string" ? thrown : JSON.stringify(thrown) ?? String(thrown);
    } catch {
      text = String(thrown);
    }
    return { type: "thrown", message: cut(text) };
  }
  const type = String(thrown.name || thrown.constructor?.name || "Error");
  const described = { type, message: cut(relative(String(thrown.message))) };
  const stack = stackOf(thrown);
  if (stack !== "") described.stack = stack;
  if (isOutOfMemory(thrown)) described.code = "out_of_memory";
  return described;
}

// The error's stack and those of its causes, without the frames of Node.js and of this shim.
function stackOf(error) {
  const parts = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    const stack = typeof at.stack === "string" ? at.stack : String(at);
    const lines = stack.split("\n").filter((line) => !/^\s+at .*(node:internal|node:async_hooks)/.test(line) && !line.includes(__dirname));
    parts.push((depth > 0 ? "caused by: " : "") + lines.join("\n"));
  }
  return cut(relative(parts.join("\n")));
}

// Where in the app a failure to load comes from.
function place(error) {
  const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : "";
  for (const line of stack.split("\n")) {
    const found = /(?:file:\/\/)?(\/[^\s():]+):(\d+)/.exec(line);
    if (found !== null && found[1].startsWith(`${root}/`)) {
      return { file: decodeURIComponent(found[1].slice(root.length + 1)), line: Number(found[2]) };
    }
  }
  return {};
}

function isOutOfMemory(error) {
  return error instanceof RangeError && error.message.includes("Array buffer allocation failed");
}

function cut(text) {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

module.exports = { describe, place, setRoot, relative };
