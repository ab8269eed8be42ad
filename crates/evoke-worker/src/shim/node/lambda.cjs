// `export const handler = async (event, context)`: requests as function-URL payload 2.0, events as they are.
// https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"use strict";

const { returnedEvents } = require("./event.cjs");

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

async function request(target, call, _env, ctx) {
  const payload = toPayload(call.head, await call.readBody(), ctx);
  call.payload = payload;
  const { status, headers, body } = toResponse(await invoke(target, payload, ctx));
  const silent = body.length === 0 || call.head.request.method === "HEAD";
  call.respond(status, headers, !silent);
  if (!silent) await call.sendWhole(body);
}

async function event(target, call, _env, ctx) {
  return returnedEvents(await invoke(target, call.head.event, ctx), "the handler");
}

// Handlers with a third parameter answer by calling it back.
function invoke(handler, payload, context) {
  if (handler.length < 3) return handler(payload, context);
  return new Promise((resolve, reject) => {
    const returned = handler(payload, context, (error, result) => (error ? reject(error) : resolve(result)));
    if (typeof returned?.then === "function") returned.then(resolve, reject);
  });
}

function toPayload(head, body, ctx) {
  const { method, uri, headers: fields, params, client } = head.request;
  const url = new URL(uri);
  const headers = {};
  const cookies = [];
  for (const [name, value] of fields) {
    if (name === "cookie") cookies.push(...value.split("; "));
    else headers[name] = name in headers ? `${headers[name]},${value}` : value;
  }
  const now = new Date();
  const payload = {
    version: "2.0",
    routeKey: "$default",
    rawPath: decode(url.pathname),
    rawQueryString: url.search.slice(1),
    headers,
    requestContext: {
      accountId: "anonymous",
      apiId: ctx.functionName,
      authentication: null,
      authorizer: null,
      domainName: url.hostname,
      domainPrefix: url.hostname.split(".")[0],
      http: {
        method,
        path: decode(url.pathname),
        protocol: "HTTP/1.1",
        sourceIp: sourceIp(client),
        userAgent: headers["user-agent"] ?? "",
      },
      requestId: ctx.awsRequestId,
      routeKey: "$default",
      stage: "$default",
      time: lambdaTime(now),
      timeEpoch: now.getTime(),
    },
    isBase64Encoded: false,
  };
  if (cookies.length > 0) payload.cookies = cookies;
  if (url.search.length > 1) {
    const query = {};
    for (const [name, value] of url.searchParams) query[name] = name in query ? `${query[name]},${value}` : value;
    payload.queryStringParameters = query;
  }
  if (params.length > 0) payload.pathParameters = Object.fromEntries(params);
  if (body.length > 0) Object.assign(payload, encodeBody(body, headers["content-type"]));
  return payload;
}

function encodeBody(body, type) {
  if (type === undefined || /^(text\/|application\/(json|javascript|xml|x-www-form-urlencoded|graphql)|[^;]*\+(json|xml))/i.test(type)) {
    try {
      return { body: UTF8.decode(body), isBase64Encoded: false };
    } catch {
      // Not what it says; the bytes are kept.
    }
  }
  return { body: body.toString("base64"), isBase64Encoded: true };
}

function toResponse(result) {
  const answer = typeof result === "object" && result !== null && "statusCode" in result ? result : null;
  if (answer === null) {
    const text = JSON.stringify(result === undefined ? null : result);
    if (text === undefined) throw new TypeError(`the handler returned a ${typeof result}, which JSON does not have`);
    return { status: 200, headers: [["content-type", "application/json"]], body: Buffer.from(text, "utf8") };
  }
  const status = Number(answer.statusCode);
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new TypeError(`the handler returned statusCode ${JSON.stringify(answer.statusCode)}, which is not within 200 to 599`);
  }
  const body = toBody(answer);
  const headers = [];
  for (const [name, value] of Object.entries(answer.headers ?? {})) {
    // With a body of its own, the one that came from what is next is not meant.
    if (body.length > 0 && name.toLowerCase() === "evoke-body") continue;
    if (value !== undefined && value !== null) headers.push([name.toLowerCase(), String(value)]);
  }
  for (const [name, values] of Object.entries(answer.multiValueHeaders ?? {})) {
    for (const value of values ?? []) headers.push([name.toLowerCase(), String(value)]);
  }
  for (const cookie of answer.cookies ?? []) headers.push(["set-cookie", String(cookie)]);
  if (body.length > 0 && !headers.some(([name]) => name === "content-type")) headers.push(["content-type", "application/json"]);
  return { status, headers, body };
}

function toBody({ body, isBase64Encoded }) {
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (typeof body === "string") return Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return Buffer.from(JSON.stringify(body), "utf8");
}

function sourceIp(client) {
  if (!client) return "";
  const bracketed = /^\[(.*)\]:\d+$/.exec(client);
  if (bracketed !== null) return bracketed[1];
  // More than one colon and no brackets: an IPv6 address without a port.
  return client.split(":").length === 2 ? client.replace(/:\d+$/, "") : client;
}

// 21/Nov/2026:01:42:00 +0000
function lambdaTime(at) {
  const two = (number) => String(number).padStart(2, "0");
  const day = `${two(at.getUTCDate())}/${MONTHS[at.getUTCMonth()]}/${at.getUTCFullYear()}`;
  return `${day}:${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`;
}

function decode(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

module.exports = { request, event };
