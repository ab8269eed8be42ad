"""Finds processes that carry a mark (NAME=value) in their environment, ends them, and fails if there were any."""

import os
import signal
import sys
import time

from rig.processes import marked

PATIENCE_SECONDS = 30


def main(mark: str) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := others(mark):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for pid, command in left.items():
        print(f"left running, ended now: {pid} {command}")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return 1 if left else 0


def others(mark: str) -> dict[int, str]:
    return {pid: command for pid, command in marked(mark).items() if pid != os.getpid()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
