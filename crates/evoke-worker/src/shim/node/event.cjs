// What handlers make of events, and what becomes of what they return.
"use strict";

// The events a handler returned, as DONE wants them.
function returnedEvents(value, where) {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item, at) => one(item, `${where} number ${at}`));
  return one(value, where);
}

function one(value, where) {
  if (value === undefined || value === null) return [];
  if (typeof value === "object") {
    // Of a batch: which of its events are to be tried again.
    if (Array.isArray(value.batchItemFailures)) return [value];
    if (typeof value.type === "string") return [value];
    // Lambda handlers that serve requests as well often answer everything alike.
    if (Number.isInteger(value.statusCode)) {
      if (value.statusCode < 400) return [];
      throw new Error(`the handler answered the event with status ${value.statusCode}`);
    }
  }
  throw new TypeError(`${where} returned ${describe(value)}: an event is answered with nothing, or with CloudEvents (objects with a "type")`);
}

function describe(value) {
  if (typeof value === "object") return `an object with ${Object.keys(value).slice(0, 5).join(", ") || "nothing"} in it`;
  return `${typeof value === "object" ? "an" : "the"} ${typeof value} ${JSON.stringify(value) ?? ""}`.trim();
}

module.exports = { returnedEvents };
