"""`kill -9` at random moments, also while it starts."""

import random
import threading
import time
from pathlib import Path

from arena import Arena, Figures
from rig.server import ServerError
from workload import Mix, Workload

CHAPTER = 25  # Kills on one directory, then all is checked.
CLIENTS = 6


def run(binary: Path, kills: int, seed: int) -> Figures:
    figures = Figures(kills=0)
    while figures["kills"] < kills:
        chapter(binary, min(CHAPTER, kills - figures["kills"]), seed + figures["kills"], figures)
    return figures


def chapter(binary: Path, kills: int, seed: int, figures: Figures) -> None:
    rng = random.Random(seed)
    with Arena(binary, "kill", seed) as arena:
        arena.server.start()
        arena.deploy()
        workload = Workload(arena.server, "k", seed, CLIENTS, Mix(pause=0.02))
        workload.start()
        for _ in range(kills):
            time.sleep(rng.uniform(0.05, 1.2))
            orphans = arena.server.kill()
            figures["kills"] += 1
            figures["workers left over"] += len(orphans)
            if rng.random() < 0.2:
                die_while_starting(arena.server, rng.uniform(0.0, 0.3))
                figures["died starting"] += 1
            arena.server.start()
        sent = workload.stop()
        arena.must_hold(sent)
        figures.of(sent)


def die_while_starting(server, after: float) -> None:
    """Starts it and kills it so long after, ready or not."""

    def kill() -> None:
        if server.process is not None:
            server.process.kill()

    timer = threading.Timer(after, kill)
    timer.start()
    try:
        server.start()
    except ServerError:
        pass
    timer.join()
    server.process.kill()
    server.process.wait()
