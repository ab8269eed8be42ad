"""What a Python function may ask of Evoke while it runs.

    evoke.events.publish({"type": "order_placed", "data": {...}})
    evoke.kv.put("order/7", {...}, ttl="10m", if_revision=0)
    evoke.functions.call("resize", "/thumb", json={...})

`evoke.aio` has the same three, with methods to be awaited. `@evoke.after_fork` marks a function that is called once in each
instance, before its first call. What is refused raises a subclass of `evoke.Error`, which has
`code`, `status` and `detail`. docs/reference/functions.md describes it all.
"""

from evoke._after_fork import after_fork
from evoke._api import (
    Conflict,
    EmitRefused,
    Entry,
    Error,
    FunctionFailed,
    InvalidRequest,
    NotFound,
    Overloaded,
    Response,
    TimedOut,
    TooLarge,
    Unavailable,
    events,
    functions,
    kv,
)

__all__ = [
    "Conflict", "EmitRefused", "Entry", "Error", "FunctionFailed", "InvalidRequest", "NotFound", "Overloaded",
    "Response", "TimedOut", "TooLarge", "Unavailable", "after_fork", "aio", "events", "functions", "kv",
]


def __getattr__(name):
    # asyncio takes longer to import than all of the rest.
    if name == "aio":
        import evoke.aio

        return evoke.aio
    raise AttributeError(f"module 'evoke' has no attribute {name!r}")
