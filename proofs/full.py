"""A disk that is full: new events are refused with 507 and a reason, what was accepted is delivered, and it goes on by itself
when there is room again. On a small tmpfs in a mount namespace of the server's own; where there are no such namespaces, the
writes of the server are refused by the shim instead (errors.py does that anyway), and that is said."""

import os
import random
import subprocess
import time
from pathlib import Path

from arena import Arena, Broken, Figures, until
from observe import drain
from workload import Mix, Workload

SIZE_MIB = 48
CLIENTS = 4
SECONDS = 120


def run(binary: Path, rounds: int, seed: int) -> Figures:
    figures = Figures(rounds=0)
    namespace = wrapper()
    if namespace is None:
        print(
            "proofs: full: no mount namespaces here (unshare, of util-linux): only writes that are refused are tried, by errors"
        )
        return figures
    with Arena(binary, "full", seed) as arena:
        server = arena.server
        server.data.mkdir()
        server.wrapper = (
            *namespace,
            "sh",
            "-c",
            f'mount -t tmpfs -o size={SIZE_MIB}m tmpfs "$0" && exec "$@"',
            str(server.data),
        )
        server.start()
        arena.deploy()
        sent = []
        for number in range(rounds):
            sent += one_round(arena, number, figures)
        arena.must_hold(sent)
        return figures.of(sent)


def one_round(arena: Arena, number: int, figures: Figures) -> list:
    server = arena.server
    ballast = server.seen(server.data / "ballast")
    room = room_at(ballast)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, room - random.Random(f"{arena.seed}/{number}").randrange(1 << 19, 3 << 20))))
    workload = Workload(server, f"d{number}", arena.seed, CLIENTS, Mix(pause=0.005, data_bytes=16 << 10))
    workload.start()
    until(lambda: workload.statuses[507] > 20, SECONDS, "a full disk is refused with 507")
    reasons = [reason for reason in workload.reasons if reason.startswith("507")]
    if not all("disk" in reason and "is full" in reason for reason in reasons):
        raise Broken(f"the refusal does not say why: {reasons}")
    time.sleep(0.5)  # For some time nothing at all can be written, not even that something is done.
    figures["refused, 507"] += workload.statuses[507]
    before = workload.count()
    ballast.unlink()
    took = until(lambda: workload.count() > before + 20, SECONDS, "it goes on by itself when there is room")
    figures["longest recovery, s"] = max(figures["longest recovery, s"], round(took, 2))
    figures["rounds"] += 1
    if server.process.poll() is not None:
        raise Broken(f"the server ended with {server.process.returncode} because its disk was full")
    sent = workload.stop()
    drain(server)
    return sent


def room_at(path: Path) -> int:
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize


def wrapper() -> tuple[str, ...] | None:
    """A command that gives what it starts mounts of its own, as far as we may."""
    for command in (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount")):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None
