"""The module `evoke` for coroutines: `await evoke.aio.kv.get(...)`."""

from evoke._api import Events, Functions, Kv, drive_async

events = Events(drive_async)
kv = Kv(drive_async)
functions = Functions(drive_async)
