"""ASGI 3 applications (https://asgi.readthedocs.io): HTTP with streaming both ways, and lifespan."""

import asyncio

from evoke._context import Context
from evoke._lambda import address, own_body, split_uri, unquote

_VERSIONS = {"version": "3.0", "spec_version": "2.4"}


class LifespanFailed(Exception):
    """The application said that it cannot start."""


class Lifespan:
    """Start-up and shut-down of an application; one that does not know of it is left alone."""

    def __init__(self, app):
        self._app = app
        self._events = asyncio.Queue()
        self._told = asyncio.Queue()
        self._task = None
        self.state = {}

    async def start(self):
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self.state}
        self._task = asyncio.ensure_future(self._app(scope, self._events.get, self._tell))
        told = await self._ask("lifespan.startup")
        if told and told["type"] == "lifespan.startup.failed":
            raise LifespanFailed(told.get("message") or "the application's lifespan startup failed")

    async def stop(self):
        if not self._task.done():
            await self._ask("lifespan.shutdown")

    async def _tell(self, message):
        # An application that knows only of HTTP answers this as it answers everything.
        if not message["type"].startswith("lifespan."):
            raise RuntimeError(f"{message['type']} was sent, but this is the lifespan")
        await self._told.put(message)

    async def _ask(self, what):
        await self._events.put({"type": what})
        told = asyncio.ensure_future(self._told.get())
        await asyncio.wait({self._task, told}, return_when=asyncio.FIRST_COMPLETED)
        if told.done():
            return told.result()
        told.cancel()
        # An application without lifespan raises, or returns at once. Either is allowed.
        if not self._task.cancelled():
            self._task.exception()
        return None


async def handle(app, call, init, lifespan):
    if "event" in call.head:
        raise TypeError(f"the function got an event, but {init['name']} has only an ASGI application: define `def handler(event, context):` in a function of its own")
    exchange = _Exchange(call)
    await app(_scope(call, init, lifespan), exchange.receive, exchange.send)
    if not exchange.complete:
        raise RuntimeError("the ASGI application returned before its response was complete")


def _scope(call, init, lifespan):
    request = call.head["request"]
    scheme, host, path, query = split_uri(request["uri"])
    name, _, port = host.rpartition(":")
    server = (name.strip("[]"), int(port)) if name and port.isdigit() else (host, 443 if scheme == "https" else 80)
    context = Context(call, init, awaits=True)
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": request["method"],
        "scheme": scheme,
        "path": unquote(path),
        "raw_path": path.encode("ascii", "surrogateescape"),
        "query_string": query.encode("ascii", "surrogateescape"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request["headers"]],
        "client": address(request["client"]) if request["client"] else None,
        "server": server,
        "state": lifespan.state.copy(),
        "extensions": {"evoke": {"context": context, "params": context.params}},
    }


class _Exchange:
    def __init__(self, call):
        self._call = call
        self._head = None
        self._responded = False
        self._silent = call.head["request"]["method"] == "HEAD"
        self._request_over = False
        self._over = asyncio.Event()
        self.complete = False

    async def receive(self):
        if not self._request_over:
            chunk = await self._call.next_chunk_async()
            self._request_over = self._call.body_at_end()
            return {"type": "http.request", "body": chunk, "more_body": not self._request_over}
        if not self.complete:
            await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        kind = message["type"]
        if kind == "http.response.start":
            if self._head is not None:
                raise RuntimeError("http.response.start was sent twice")
            headers = [[bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1")] for name, value in message.get("headers", ())]
            self._head = (message["status"], headers)
        elif kind == "http.response.body":
            if self._head is None or self.complete:
                raise RuntimeError("http.response.body was sent " + ("after its end" if self.complete else "before http.response.start"))
            await self._body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"an ASGI message of type {kind!r} is not known")

    async def _body(self, body, more):
        call = self._call
        if not self._responded:
            self._responded = True
            self._silent = self._silent or (not more and not body)
            call.respond(*own_body(*self._head, more or body), not self._silent)
        if more:
            if body and not self._silent:
                await call.send_chunk_async(body)
            else:
                call._channel.flush()
            return
        if not self._silent:
            await call.send_last_async(body)
        self.complete = True
        self._over.set()
