"""Several calls at once, in one event loop: each is a task, and what it writes and asks is its own by its context."""

import asyncio
import posix
from contextvars import ContextVar

from evoke import _channel as wire
from evoke import _errors, _logs
from evoke._call import Call
from evoke._json import dumps, loads

_STOP = object()
_current = ContextVar("evoke_call", default=None)


def check(init, contract, is_async):
    """Whether the handler can do it. One that cannot wait for two things at once would have calls run that stand still."""
    if init["concurrency"] == 1 or is_async:
        return
    what = "a WSGI application serves" if contract == "wsgi" else "a handler defined with `def` serves"
    raise TypeError(
        f"instance_concurrency = {init['concurrency']}, but {what} one call at a time: "
        "define it with `async def` (or as an ASGI application), or leave instance_concurrency out"
    )


async def serve(channel, init, handle):
    """Runs calls until the host has no more; `handle(call)` makes one and returns its events."""
    loop = asyncio.get_running_loop()
    tasks = set()
    while True:
        call = await channel.wait_until_async(lambda: _begin(channel, init))
        if call is _STOP:
            return
        task = loop.create_task(_run(channel, call, handle))
        # A loop holds on to its tasks weakly.
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        call.stop = lambda task=task: loop.call_soon_threadsafe(task.cancel)
        if call.cancelled is not None:
            task.cancel()


def several(channel):
    """From now on there may be several calls."""
    channel.several(_running)


def _running():
    call = _current.get()
    return None if call is None or call.over else call


def _begin(channel, init):
    """The next call, with what of its body came along. Nobody takes frames meanwhile."""
    if not channel.inbox:
        return None
    kind, id, payload = channel.inbox.pop(0)
    if kind != wire.INVOKE:
        return _STOP
    call = Call(id, loads(payload), channel, init["limits"])
    for frame in [frame for frame in channel.inbox if frame[1] == id]:
        channel.inbox.remove(frame)
        call.take(frame[0], frame[2])
    channel.calls[id] = call
    return call


async def _run(channel, call, handle):
    _current.set(call)
    try:
        events = await handle(call)
        kind, payload = wire.DONE, dumps({"events": events}).encode() if events else b"{}"
    except asyncio.CancelledError as error:
        kind, payload = wire.ERROR, _described({**_errors.describe(error), "fatal": False})
    except BaseException as error:
        described = _errors.describe(error)
        kind, payload = wire.ERROR, _described(described)
        if described.get("fatal", False):
            _logs.finish()
            channel.end(call, kind, payload)
            posix._exit(1)
    _logs.finish()
    channel.end(call, kind, payload)


def _described(error):
    return dumps(error).encode("utf-8", "replace")
