"""Clock jumps of up to an hour, both ways. What is promised, all by the server's clock: nothing is delivered before its time;
what is retried or was leased goes on whatever the clock does; a schedule goes on, once per time, when the clock is past
what it has had; delayed events come when the clock is past their time."""

import random
import struct
import time
from pathlib import Path

from arena import NATIVE, Arena, Figures, until
from disk import compile
from observe import drain, ticks
from workload import Mix, Workload

CLIENTS = 4
HOUR = 3600
SECONDS = 120


class Clock:
    """What the server reads is ours plus an offset."""

    def __init__(self, scratch: Path):
        self.file = scratch / "offset"
        self.shim = compile(NATIVE / "clock.c", scratch / "clock.so")
        self.put(0)

    def put(self, offset: int) -> None:
        self.offset = offset
        mode = "r+b" if self.file.exists() else "wb"
        with self.file.open(mode) as file:
            file.write(struct.pack("=q", offset))

    def now(self) -> float:
        return time.time() + self.offset

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.shim), "EVOKE_CLOCK_FILE": str(self.file)}


def run(binary: Path, jumps: int, seed: int) -> Figures:
    rng = random.Random(seed)
    figures = Figures(jumps=0)
    with Arena(binary, "clock", seed) as arena:
        server, clock = arena.server, Clock(arena.scratch)
        server.environment = clock.environment()
        server.start()
        arena.deploy()
        workload = Workload(server, "c", seed, CLIENTS, Mix(pause=0.02, fails=0.3, delayed=0.2), clock.now)
        workload.start()
        for _ in range(jumps):
            time.sleep(rng.uniform(0.2, 1.0))
            clock.put(rng.randint(-HOUR, HOUR))
            figures["jumps"] += 1
        clock.put(HOUR)
        time.sleep(0.5)
        # The hardest: an hour and more back, with retries under way that were put off by the clock as it was.
        clock.put(-HOUR)
        figures["jumps"] += 1
        sent = workload.stop()
        # Retries and leases go on.
        took = drain(server, SECONDS, delayed=False)
        figures["done after the last jump back, s"] = round(took, 1)
        # Past all that was: what was delayed comes, and the schedule goes on.
        clock.put(HOUR + 60)
        before = ticks(server)
        until(lambda: ticks(server) > before + 2, SECONDS, "the schedule goes on when the clock is past its times")
        drain(server)
        arena.must_hold(sent)
        return figures.of(sent)
