// Shouts back what it hears while it hears it, in JavaScript on QuickJS, WASI HTTP 0.3. That engine has the language and nothing
// of the web: no TextEncoder, no console.

import { getEnvironment } from "wasi:cli/environment@0.3.0";
import { Fields, Request, Response } from "wasi:http/types@0.3.0";
import { increment } from "wasi:keyvalue/atomics@0.2.0-draft";
import { open } from "wasi:keyvalue/store@0.2.0-draft";

const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export const handler = {
  async handle(request) {
    if (request.getMethod().tag !== "post") throw new Error("there is nothing to shout");
    const { EXCLAMATION } = Object.fromEntries(getEnvironment());
    const times = increment(open("shouts"), "times", 1);
    const received = wit.Future.from({ tag: "ok" }, wit.Future.RESULT_VOID_ERROR_CODE);
    const [heard] = Request.consumeBody(request, received.readable);
    const fields = new Fields();
    fields.append("x-times", ascii(String(times)));
    const said = wit.Stream.from(shout(heard, ascii(EXCLAMATION)), wit.Stream.U8);
    const trailers = wit.Future.from({ tag: "ok", val: null }, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
    const [response] = Response.new(fields, said.readable, trailers.readable);
    return response;
  },
};

async function* shout(heard, mark) {
  for await (const part of heard) yield part.map((byte) => (byte >= 97 && byte <= 122 ? byte - 32 : byte));
  yield mark;
}
