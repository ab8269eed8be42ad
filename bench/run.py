"""`make bench`: what one machine gives, as a table and as JSON.

Each figure is the median over several rounds; within a round the measurements follow one another, so that a slow moment
of the machine does not hit one of them only. Reports, not gates: nothing fails because it is slow.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from contender import medians_of
from rig.processes import descendants, memory_kib
from rig.server import Server

EVENT_BYTES = 1024
BURST_PRODUCERS = 64
BURST_SECONDS = 1.0
SETTLE_SECONDS = 1  # What a start needs only once is over then.


class Bench:
    def __init__(self, server: Server, load: Path, seconds: float):
        self.server = server
        self.load = load
        self.seconds = seconds
        self.found: dict[str, list[dict]] = {}

    def round(self) -> None:
        """Every measurement once, on a server that was just started."""
        self.restart()
        self.note("idle server", self.idle_memory())
        for language in ("node", "python"):
            self.restart()
            self.note(f"idle to first answer, {language}", {"ms": self.first_answer(f"/{language}")})
        for clients in (1, 16):
            for language in ("node", "python"):
                self.note(f"warm HTTP call, {language}, {many(clients, 'client')}", self.calls(f"/{language}", clients))
        for producers in (1, 16, 256):
            figures = self.publishes("bench.tick", producers, self.seconds)
            self.note(f"durable publish of 1 KiB, {many(producers, 'producer')}", figures)
        self.note("event through a handler and settled, node", self.deliveries())

    def restart(self) -> None:
        self.server.stop()
        self.server.start()

    def note(self, name: str, figures: dict) -> None:
        self.found.setdefault(name, []).append(figures)
        print(f"  {name:<46} {row(figures)}", file=sys.stderr, flush=True)

    def idle_memory(self) -> dict:
        """Of the server, and of whatever it keeps running beside it while no function runs."""
        time.sleep(SETTLE_SECONDS)
        server = memory_kib(self.server.pid)
        beside = [memory_kib(pid)["pss"] for pid in descendants(self.server.pid)]
        return {
            "rss_kib": server["rss"],
            "pss_kib": server["pss"],
            "children": len(beside),
            "children_kib": sum(beside),
        }

    def first_answer(self, path: str) -> float:
        """From the request to the last byte of its answer, where nothing of the function is running yet."""
        connection = http.client.HTTPConnection(urlsplit(self.server.data_url).netloc, timeout=30)
        connection.connect()
        begin = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        passed = time.perf_counter() - begin
        connection.close()
        assert (answer.status, body) == (200, b"hello\n"), (answer.status, body)
        return round(passed * 1000, 1)

    def calls(self, path: str, clients: int) -> dict:
        return self.generate(self.server.data_url + path, clients, self.seconds)

    def deliveries(self) -> dict:
        """From the first publish of a burst until the last of its events is settled."""
        begin = time.perf_counter()
        burst = self.publishes("bench.work", BURST_PRODUCERS, BURST_SECONDS, "--warm-up", "0")
        while self.server.get("/v1/apps/bench/runs", function="sink", state="queued", limit=1)["runs"]:
            time.sleep(0.01)
        passed = time.perf_counter() - begin
        return {"settled_per_second": round(burst["requests"] / passed)}

    def publishes(self, event: str, producers: int, seconds: float, *options: str) -> dict:
        """Binary-mode CloudEvents over the control API, each with an id of its own."""
        fields = {
            "authorization": f"Bearer {self.server.token()}",
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-type": event,
            "ce-source": "/bench",
            "ce-id": "{n}",
        }
        headers = [argument for name, value in fields.items() for argument in ("-H", f"{name}: {value}")]
        data = json.dumps("x" * (EVENT_BYTES - 2))
        url = f"{self.server.admin_url}/v1/apps/bench/events"
        return self.generate(url, producers, seconds, "-X", "POST", "-d", data, *headers, *options)

    def generate(self, url: str, clients: int, seconds: float, *options: str) -> dict:
        command = [str(self.load), url, "--clients", str(clients), "--seconds", str(seconds), *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 60)
        return json.loads(done.stdout)


def many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def row(figures: dict) -> str:
    return "  ".join(UNITS[name](value) for name, value in figures.items() if name in UNITS)


UNITS: dict[str, Callable[[float], str]] = {
    "settled_per_second": lambda n: f"{n:>9,.0f} /s",
    "per_second": lambda n: f"{n:>9,.0f} /s",
    "p50_us": lambda us: f"p50 {us / 1000:>8.2f} ms",
    "p99_us": lambda us: f"p99 {us / 1000:>8.2f} ms",
    "ms": lambda ms: f"{ms:>9.1f} ms",
    "rss_kib": lambda kib: f"RSS {kib / 1024:.1f} MiB",
    "pss_kib": lambda kib: f"PSS {kib / 1024:.1f} MiB",
    "children": lambda n: f"and {n:.0f} more beside it",
    "children_kib": lambda kib: f"of {kib / 1024:.1f} MiB PSS",
}


def machine() -> dict:
    return {"cpus": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--load", type=Path, required=True, help="the evoke-load executable, built in release mode")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement under load")
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-bench-"))
    server = Server(options.binary.resolve(), scratch / "data")
    try:
        server.start()
        server.command("deploy", str(HERE / "hello"))
        bench = Bench(server, options.load.resolve(), options.seconds)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            bench.round()
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)

    print(f"\nmedians of {options.rounds} rounds, {machine()}")
    for name, figures in medians_of(bench.found).items():
        print(f"  {name:<46} {row(figures)}")
    if options.json:
        report = {
            "machine": machine(),
            "seconds": options.seconds,
            "medians": medians_of(bench.found),
            "rounds": bench.found,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
