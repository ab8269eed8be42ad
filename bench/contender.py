"""What is measured beside each other: a function of a running server, and what every contender is asked."""

import os
import socket
import statistics
import urllib.error
import urllib.request
from pathlib import Path

from rig.processes import descendants
from rig.server import Server

TICKS = os.sysconf("SC_CLK_TCK")


class Function:
    """A function of a running server."""

    def __init__(self, name: str, server: Server, path: str):
        self.name = name
        self.server = server
        self.url = server.data_url + path

    def wait(self) -> None:
        answers(self.url)

    def cpu(self) -> dict[str, float]:
        """Seconds of all its processes, and of the server's own."""
        own = cpu_seconds(self.server.pid)
        return {"all": own + sum(map(cpu_seconds, descendants(self.server.pid))), "server": own}

    def stop(self) -> None:
        """The server is stopped by whoever started it."""


def answers(url: str) -> bool:
    """Whether `hello` comes from there."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read() == b"hello\n"
    except (urllib.error.URLError, ConnectionError):
        return False


def cpu_seconds(pid: int) -> float:
    """User and system time; 0 of a process that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def medians_of(found: dict[str, list[dict]]) -> dict[str, dict]:
    """Of the rounds of each, figure by figure."""
    return {
        name: {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}
        for name, rounds in found.items()
    }
