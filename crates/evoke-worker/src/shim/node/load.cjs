// From a source file to something that can be called.
"use strict";

const { pathToFileURL } = require("node:url");

// Returns { contract: "web" | "lambda", target, afterFork }, the last undefined where the module has none. Throws what the
// module throws, or a TypeError that says what is missing.
async function load({ source, name, handler }) {
  const module = await import(pathToFileURL(source).href);
  // Of a CommonJS module, exports that cannot be seen from outside are on the default export.
  const commonJs = typeof module.default === "object" || typeof module.default === "function" ? module.default : null;
  const find = (key) => module[key] ?? commonJs?.[key];
  const afterFork = find("afterFork");
  if (afterFork !== undefined && typeof afterFork !== "function") {
    throw new TypeError(`${name}: the export "afterFork" is ${kindOf(afterFork)}; it is to be a function, called in each instance before its first call`);
  }
  return { ...contract({ module, commonJs, find, name, handler }), afterFork };
}

function contract({ module, commonJs, find, name, handler }) {
  if (handler) {
    const found = find(handler);
    if (isWeb(found)) return { contract: "web", target: found };
    if (typeof found === "function") return { contract: "lambda", target: found };
    if (found === undefined) throw new TypeError(`${name} has no export ${JSON.stringify(handler)}, which the manifest names as handler`);
    throw new TypeError(`${name}: the export ${JSON.stringify(handler)} is ${kindOf(found)}; a handler is a function, or an object with fetch or event`);
  }
  for (const candidate of [module.default, commonJs?.default]) {
    if (isWeb(candidate)) return { contract: "web", target: candidate };
  }
  const lambda = find("handler");
  if (typeof lambda === "function") return { contract: "lambda", target: lambda };
  const hint = "define `export default { fetch(request, env, ctx) {…} }` (or event), or `export const handler = async (event, context) => {…}`";
  if (lambda !== undefined) throw new TypeError(`${name}: handler is ${kindOf(lambda)}, not a function: ${hint}`);
  throw new TypeError(`${name} has no handler: ${hint}`);
}

function isWeb(value) {
  return value !== null && (typeof value === "object" || typeof value === "function")
    && (typeof value.fetch === "function" || typeof value.event === "function");
}

function kindOf(value) {
  if (value === null) return "null";
  return `${typeof value === "object" ? "an" : "a"} ${typeof value}`;
}

module.exports = { load };
