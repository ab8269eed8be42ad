"""Processes by /proc: who came from whom, who is still there."""

import os
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """All living children, grandchildren and so on."""
    found, todo = [], [pid]
    while todo:
        tasks = f"/proc/{todo.pop()}/task"
        try:
            threads = os.listdir(tasks)
        except OSError:  # The process ended while we looked; below, the thread.
            continue
        for thread in threads:
            try:
                pids = [int(child) for child in Path(tasks, thread, "children").read_text().split()]
            except OSError:
                continue
            found += pids
            todo += pids
    return found


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def gone(pid: int, within: float) -> bool:
    """Waits at most `within` seconds for its end."""
    deadline = time.monotonic() + within
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def marked(mark: str) -> dict[int, str]:
    """Living processes with `mark` (as NAME=value) in their environment: pid → command line."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes().split(b"\0")
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if mark.encode() in environment and alive(int(directory.name)):
            found[int(directory.name)] = command
    return found


def memory_kib(pid: int) -> dict[str, int]:
    """Resident and proportional set size in KiB; 0 of a process that is gone."""
    sizes = {"rss": 0, "pss": 0}
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return sizes
    for line in rollup.splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss"):
            sizes[name.lower()] = int(rest.split()[0])
    return sizes
