"""A disk that fails at any call: a sync with EIO, after which the server must not go on with that store, and a write with
ENOSPC, after which it must. Both with writes that are cut short in between."""

import random
import time
from pathlib import Path

from arena import Arena, Broken, Figures, until
from disk import Disk
from rig.server import ServerError
from workload import Mix, Workload

STEP = 7  # The first fault is at call STEP of the server, the next at twice that, …
CLIENTS = 4
SECONDS = 120


def run(binary: Path, points: int, seed: int) -> Figures:
    """Each point on the same directory, which so becomes the work of many failures; checked at the end."""
    figures = Figures({"failed syncs": 0, "full writes": 0})
    rng = random.Random(seed)
    with Arena(binary, "errors", seed) as arena:
        disk, server = Disk(arena.server.data), arena.server
        server.start()
        arena.deploy()
        server.stop()
        sent = []
        for point in range(points):
            sent += failed_sync(arena, disk, STEP * (point + 1), rng, figures)
            sent += full_write(arena, disk, STEP * (point + 1), figures)
        server.stop()
        server.environment = {}
        server.start()
        arena.must_hold(sent)
        return figures.of(sent)


def failed_sync(arena: Arena, disk: Disk, nth: int, rng: random.Random, figures: Figures) -> list:
    """From its `nth` sync on each fails. Then the power goes, since nobody knows what such a disk has kept."""
    server = arena.server
    server.stop()
    server.environment = disk.environment(sync=f"fail:{nth}", write="short")
    try:
        server.start()
    except ServerError as refused:  # One of the first syncs: it does not even start, and says why.
        if "data directory" not in str(refused):
            raise
        figures["refused to start"] += 1
        disk.cut_power(rng)
        return []
    workload = Workload(server, f"e{nth}", arena.seed, CLIENTS, Mix(pause=0.01, careless=0.5))
    workload.start()
    took = until(
        lambda: server.process.poll() is not None, SECONDS, "a server whose disk failed ends, to be started again"
    )
    figures["failed syncs"] += 1
    figures["longest end, s"] = max(figures["longest end, s"], round(took, 2))
    disk.cut_power(rng if nth % 2 else None)
    server.environment = {}
    server.start()
    return workload.stop()


def full_write(arena: Arena, disk: Disk, nth: int, figures: Figures) -> list:
    """From its `nth` write on there is no room, for a moment."""
    server = arena.server
    server.stop()
    server.environment = disk.environment(write=f"full:{nth}")
    try:
        server.start()
    except ServerError:
        figures["refused to start"] += 1
        return []
    workload = Workload(server, f"f{nth}", arena.seed, CLIENTS, Mix(pause=0.01))
    workload.start()
    until(lambda: workload.statuses[507] > 3, SECONDS, "a server whose disk is full refuses with 507")
    time.sleep(0.2)
    disk.free_space()
    before = workload.count()
    until(lambda: workload.count() > before + 10, SECONDS, "it goes on when there is room again")
    figures["full writes"] += 1
    if server.process.poll() is not None:
        raise Broken(f"the server ended with {server.process.returncode} because its disk was full")
    return workload.stop()
