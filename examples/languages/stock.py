"""A stock of things, in Python: its state is asked for over HTTP from the platform, WASI HTTP 0.3."""

import json
import sys

import componentize_py_async_support
import wit_world
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import client, environment
from wit_world.imports.wasi_http_types import Fields, Method_Get, Method_Put, Request, Response, Scheme_Http

# Futures of the world, by their types.
trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future
received = wit_world.result_unit_wasi_http_types_error_code_future

calls = 0


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        global calls
        calls += 1
        path = request.get_path_with_query() or ""
        if path.startswith("/stock/lines/"):
            return respond(200, lines(int(path.rpartition("/")[2])))
        if path == "/stock/calls":
            return respond(200, pieces(str(calls).encode()))
        if path == "/stock/grow":
            sys.stderr.write(f"{len(b'x' * (1 << 30))}\n")
        if path == "/stock/exit":
            sys.exit(3)
        received_goods = json.loads(await read(Request.consume_body(request, received(lambda: Ok(None))[1])))
        env = dict(environment.get_environment())
        item = received_goods["item"]
        held = await ask(env["EVOKE_API"], Method_Get(), item)
        held = (json.loads(held) if held is not None else 0) + received_goods["count"]
        await ask(env["EVOKE_API"], Method_Put(), item, json.dumps(held).encode())
        print(f"{item}: {held} {env['UNIT']}", file=sys.stderr)
        return respond(201, pieces(json.dumps({"item": item, "held": held, "unit": env["UNIT"]}).encode()))


async def ask(api: str, method, key: str, value: bytes = b"") -> bytes | None:
    """A value of the app's state, which `value` takes the place of with PUT."""
    writer, body = wit_world.byte_stream()
    fields = Fields.from_list([("content-type", b"application/json")])
    request, _ = Request.new(fields, body, trailers(lambda: Ok(None))[1], None)
    request.set_method(method)
    request.set_scheme(Scheme_Http())
    request.set_authority(api.removeprefix("http://"))
    request.set_path_with_query(f"/v1/kv/stock/{key}")
    componentize_py_async_support.spawn(write(writer, pieces(value)))
    answer = await client.send(request)
    status = answer.get_status_code()
    text = await read(Response.consume_body(answer, received(lambda: Ok(None))[1]))
    return text if status < 300 else None


async def read(body) -> bytes:
    stream, _ = body
    whole = b""
    with stream:
        while not stream.writer_dropped:
            whole += await stream.read(64 << 10)
    return whole


def respond(status: int, body) -> Response:
    """Answers with what the asynchronous iterator `body` yields, as it comes."""
    writer, stream = wit_world.byte_stream()
    fields = Fields.from_list([("x-stock", b"python")])
    response, _ = Response.new(fields, stream, trailers(lambda: Ok(None))[1])
    response.set_status_code(status)
    componentize_py_async_support.spawn(write(writer, body))
    return response


async def write(writer, body):
    with writer:
        async for part in body:
            await writer.write_all(part)


async def pieces(*parts: bytes):
    for part in parts:
        yield part


async def lines(to: int):
    for line in range(1, to + 1):
        yield f"line {line}\n".encode()
