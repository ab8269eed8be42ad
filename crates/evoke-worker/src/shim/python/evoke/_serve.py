"""The loop of a worker: load, then run calls."""

import builtins
import sys
from _thread import stack_size
from posix import register_at_fork

from evoke import _channel as wire
from evoke import _after_fork, _api, _errors, _lambda, _load, _logs
from evoke._call import Call
from evoke._channel import Channel
from evoke._json import dumps, loads

_PROTOCOL = 1
_STACK_BYTES = 1 << 20


def main():
    channel = Channel()
    kind, _, payload = channel.wait_until(lambda: channel.inbox and channel.inbox.pop(0))
    if kind != wire.INIT:
        return
    init = loads(payload)
    _errors.set_root(init["root"])
    _logs.capture(channel, init["limits"])
    _api.connect(channel)
    register_at_fork(after_in_child=lambda: _leave(channel))
    # The module `site`, which gives these, is not loaded.
    builtins.exit = builtins.quit = sys.exit
    # Stacks of threads count towards the memory limit at their full size, which is 8 MiB by default.
    stack_size(_STACK_BYTES)
    # Bundles are read-only.
    sys.dont_write_bytecode = True
    try:
        if init["sends"]:
            from evoke import _outgoing

            _outgoing.mark(lambda: channel.running())
        contract, target, module = _load.load(init)
        is_async = contract == "asgi" or _load.is_async(target)
        if init["concurrency"] > 1:
            from evoke import _at_once

            _at_once.check(init, contract, is_async)
        if init["zygote"]:
            init = _fork(channel, init, contract)
            if init is None:
                return
        _after_fork.call(module)
    except BaseException as error:
        _refuse(channel, error)
        return
    if is_async:
        _serve_async(channel, init, contract, target)
    else:
        _serve(channel, init, contract, target)
    _logs.finish()
    channel.flush()


def _fork(channel, init, contract):
    """Becomes a zygote, and returns in each instance that is forked from it. Where it must not be forked it is the one
    instance itself. Returns what an instance is to load, which it has, or None."""
    from evoke import _zygote

    obstacle = _zygote.obstacle()
    if obstacle:
        print(f"evoke: each instance loads {init['name']} anew: {obstacle} when it is imported", file=sys.stderr)
        return init
    zygote = _zygote.Zygote(channel)
    _ready(channel, contract, zygote=True)
    zygote.run()
    kind, _, payload = channel.wait_until(lambda: _next(channel))
    return loads(payload) if kind == wire.INIT else None


def _ready(channel, contract, zygote=False, concurrency=1):
    version = ".".join(map(str, sys.version_info[:3]))
    ready = {"protocol": _PROTOCOL, "runtime": f"{sys.implementation.name} {version}", "contract": contract}
    if zygote:
        ready["zygote"] = True
    if concurrency > 1:
        ready["concurrency"] = concurrency
    _logs.finish()
    channel.send(wire.READY, 0, dumps(ready).encode())
    channel.flush()


def _refuse(channel, error):
    _logs.finish()
    described = {**_errors.describe(error), **_errors.place(error)}
    channel.send(wire.INIT_ERROR, 0, dumps(described).encode("utf-8", "replace"))
    channel.flush()


def _leave(channel):
    zygote = sys.modules.get("evoke._zygote")
    if zygote is not None and zygote.is_forking():
        return
    channel.leave()
    _logs.release()


def _next(channel):
    return channel.inbox and channel.inbox.pop(0)


def _serve(channel, init, contract, target):
    if contract == "lambda":
        handle = _lambda.handle
    else:
        from evoke._wsgi import handle
    _ready(channel, contract)
    while True:
        call = _begin(channel, init, channel.wait_until(lambda: _next(channel)))
        if call is None:
            return
        try:
            events = handle(target, call, init)
            _done(channel, call, events)
        except BaseException as error:
            if _failed(channel, call, error):
                return


def _serve_async(channel, init, contract, target):
    import asyncio

    async def serve():
        channel.main_loop = asyncio.get_running_loop()
        lifespan = None
        if contract == "asgi":
            from evoke import _asgi

            lifespan = _asgi.Lifespan(target)
            try:
                await lifespan.start()
            except BaseException as error:
                return _refuse(channel, error)

        async def handle(call):
            if lifespan is None:
                return await _lambda.handle_async(target, call, init)
            return await _asgi.handle(target, call, init, lifespan) or []

        if init["concurrency"] > 1:
            from evoke import _at_once

            _at_once.several(channel)
            _ready(channel, contract, concurrency=init["concurrency"])
            await _at_once.serve(channel, init, handle)
        else:
            _ready(channel, contract)
            if not await _serve_one(channel, init, handle):
                return
        if lifespan is not None:
            await lifespan.stop()

    asyncio.run(serve())


async def _serve_one(channel, init, handle):
    """One call after the other. False when the process must end at once."""
    while True:
        call = _begin(channel, init, await channel.wait_until_async(lambda: _next(channel)))
        if call is None:
            return True
        try:
            _done(channel, call, await handle(call))
        except BaseException as error:
            if _failed(channel, call, error):
                return False


def _begin(channel, init, frame):
    kind, id, payload = frame
    if kind != wire.INVOKE:
        return None
    call = Call(id, loads(payload), channel, init["limits"])
    while channel.inbox and channel.inbox[0][1] == id:
        kind, _, payload = channel.inbox.pop(0)
        call.take(kind, payload)
    channel.call = call
    return call


def _done(channel, call, events):
    payload = dumps({"events": events}).encode() if events else b"{}"
    _end(channel, call, wire.DONE, payload)


def _failed(channel, call, error):
    """Whether that was the end of the process too."""
    described = _errors.describe(error)
    _end(channel, call, wire.ERROR, dumps(described).encode("utf-8", "replace"))
    return described.get("fatal", False)


def _end(channel, call, kind, payload):
    _logs.finish()
    channel.end(call, kind, payload)
