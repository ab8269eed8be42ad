"""Power cuts: what was not synced when the server died is gone, or there by halves. And the control: with syncs that do
nothing, the checker must find that acknowledged events are lost."""

import random
import time
from pathlib import Path

from arena import Arena, Broken, Figures
from disk import Disk
from workload import Mix, Workload

CHAPTER = 20  # Cuts on one directory, then all is checked.
CLIENTS = 6


def run(binary: Path, cuts: int, seed: int) -> Figures:
    figures = Figures(cuts=0)
    while figures["cuts"] < cuts:
        chapter(binary, min(CHAPTER, cuts - figures["cuts"]), seed + figures["cuts"], figures)
    if not figures["undone"]:
        raise Broken("the power cuts had nothing to undo: is the server linked dynamically?")
    figures["lost in the control, as it must be"] = control(binary, seed)
    return figures


def chapter(binary: Path, cuts: int, seed: int, figures: Figures) -> None:
    rng = random.Random(seed)
    with Arena(binary, "power", seed) as arena:
        disk, server = Disk(arena.server.data), arena.server
        server.environment = disk.environment()
        server.start()
        arena.deploy()
        workload = Workload(server, "p", seed, CLIENTS, Mix(pause=0.02))
        workload.start()
        for cut in range(cuts):
            time.sleep(rng.uniform(0.05, 1.0))
            server.kill()
            figures["undone"] += disk.cut_power(rng if cut % 2 else None)
            figures["cuts"] += 1
            server.environment = disk.environment(**({"write": "short"} if cut % 3 == 1 else {}))
            server.start()
        sent = workload.stop()
        arena.must_hold(sent)
        figures.of(sent)


def control(binary: Path, seed: int) -> int:
    """How many acknowledged events are lost by one power cut where syncs do nothing. None would say that this proves nothing."""
    with Arena(binary, "power-control", seed) as arena:
        disk, server = Disk(arena.server.data), arena.server
        server.environment = disk.environment()
        server.start()
        arena.deploy()
        server.stop()
        server.environment = disk.environment(sync="ignore")
        server.start()
        workload = Workload(server, "p", seed, CLIENTS, Mix(pause=0.02, call=0.0, delayed=0.0))
        workload.start()
        while workload.count() < 50:
            time.sleep(0.02)
        server.kill()
        disk.cut_power()
        server.environment = {}
        server.start()
        sent = [one for one in workload.sent]
        workload.stop()
        lost = sum(anomaly.kind == "lost" for anomaly in arena.judge(sent))
    if not lost:
        raise Broken("without syncs a power cut lost nothing: the check does not see what it should")
    return lost
