"""What events cost, each figure beside what the disk of the same machine allows in the same round: records of 1 KiB appended to a
plain file with group commit.

    make bench ARGS=events    # or, with both executables built in release mode:
    python3 bench/events.py --binary target/release/evoke --load target/release/evoke-load
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode, urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from contender import medians_of
from rig.processes import memory_kib
from rig.server import Server

APP = "events"
BATCH = 1000
CLIENTS = 64
SUBSCRIPTIONS = 1000
OWN = 2  # Of the app as it is.
SUBJECT = ("-H", "ce-subject: " + "a" * 8192)  # So long that one evaluation of the dear filter takes all that it may.
SUBSCRIBED = {
    "to other types": 'event = "other.NUMBER"',
    "to other prefixes": 'event = "other.NUMBER.*"',
    "to the type, other attributes": 'event = "bench.nobody"\nwhere = "subject = \'order-NUMBER\'"',
    "to the type, other data": 'event = "bench.*"\npattern = { data = { order = ["NUMBER"] } }',
    "to the type, dearest filters": f"event = \"bench.nobody\"\nwhere = \"subject LIKE '%{'a_' * 200}b%' AND id = 'NUMBER'\"",
}


class Bench:
    def __init__(self, server: Server, load: Path, seconds: float, scratch: Path):
        self.server = server
        self.load = load
        self.seconds = seconds
        self.scratch = scratch
        self.found: dict[str, list[dict]] = {}

    def round(self, pending: int) -> None:
        """Every measurement once, each on a fresh server, since what is stored makes the next one slower."""
        for producers in (1, 16, 256):
            self.fresh()
            file = self.file(producers)
            self.note(f"publish, {producers} producers", beside(self.publish("bench.nobody", producers), file))
        self.fresh()
        file = self.file(CLIENTS)
        full = self.full_path()
        self.note("full path: publish, handler, state write, event, settled", beside(full, file))
        self.fresh()
        self.note("publish to handler start, idle", self.waits(rate=20, clients=1))
        self.fresh()
        self.note("publish to handler start, half load", self.waits(rate=full["per_second"] / 2, clients=16))
        self.fresh()
        before = self.publish("bench.nobody", 16, *SUBJECT)["cpu_us"]
        for name, on in SUBSCRIBED.items():
            self.fresh()
            self.deploy_subscriptions(on)
            after = self.publish("bench.nobody", 16, *SUBJECT)
            cost = {"more_us_per_event": round(after["cpu_us"] - before, 1)}
            self.note(f"{SUBSCRIPTIONS} subscriptions {name}", {"per_second": after["per_second"]} | cost)
        if pending:
            self.note(f"{pending:,} pending", self.pending(pending))

    def note(self, name: str, figures: dict) -> None:
        self.found.setdefault(name, []).append(figures)
        print(f"  {name:<60} {row(figures)}", file=sys.stderr, flush=True)

    def fresh(self) -> None:
        self.server.stop()
        shutil.rmtree(self.server.data, ignore_errors=True)
        self.server.start()
        self.server.command("deploy", str(HERE / "events"))

    def file(self, producers: int) -> dict:
        return self.generate("--file", str(self.scratch), clients=producers)

    def publish(self, event: str, producers: int, *options: str, seconds: float | None = None) -> dict:
        """Binary-mode CloudEvents of 1 KiB over the control API, each with an id of its own."""
        fields = {
            "authorization": f"Bearer {self.server.token()}",
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-type": event,
            "ce-source": "/bench",
            "ce-id": "{n}",
            "ce-sent": "{t}",
        }
        headers = [argument for name, value in fields.items() for argument in ("-H", f"{name}: {value}")]
        url = f"{self.server.admin_url}/v1/apps/{APP}/events"
        fixed = ("-X", "POST", "-d", json.dumps("x" * 1022), "--warm-up", "0")
        begin = self.cpu_us()
        done = self.generate(url, *fixed, *headers, *options, clients=producers, seconds=seconds)
        return done | {"cpu_us": round((self.cpu_us() - begin) / max(1, done["requests"]), 1)}

    def cpu_us(self) -> float:
        """Of the server itself, without its workers: other than rates, this is much the same on a busy machine."""
        fields = Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")

    def generate(self, *arguments: str, clients: int, seconds: float | None = None) -> dict:
        seconds = seconds or self.seconds
        command = [str(self.load), *arguments, "--clients", str(clients), "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode != 0:
            raise SystemExit(done.stderr.strip())
        return json.loads(done.stdout)

    def full_path(self) -> dict:
        """From the first publish of a burst until the last of its events is settled."""
        begin = time.perf_counter()
        burst = self.publish("bench.work", CLIENTS)
        self.drained()
        return {"per_second": round(burst["requests"] / (time.perf_counter() - begin))}

    def drained(self) -> None:
        while any(
            self.server.get(f"/v1/apps/{APP}/runs", function="work", state=state, limit=1)["runs"]
            for state in ("queued", "running")
        ):
            time.sleep(0.01)

    def waits(self, rate: float, clients: int) -> dict:
        """From just before the publish is sent to the handler's first line, by the handlers themselves, whose clock tells
        milliseconds. Instances are there already."""
        self.publish("bench.work", clients, seconds=0.5)
        self.drained()
        before = {key for key, _ in self.state("waited/")}
        self.publish("bench.work", clients, "--rate", str(rate))
        self.drained()
        waited = sorted(value for key, value in self.state("waited/") if key not in before)
        return {"p50_us": waited[len(waited) // 2], "p99_us": waited[len(waited) * 99 // 100], "events": len(waited)}

    def state(self, prefix: str) -> list:
        found: list = []
        while True:
            query = {"prefix": prefix} | ({"after": found[-1][0]} if found else {})
            with urllib.request.urlopen(f"{self.server.data_url}/look?{urlencode(query)}", timeout=60) as answer:
                page = json.load(answer)["entries"]
            found += page
            if len(page) < 1000:
                return found

    def deploy_subscriptions(self, on: str) -> None:
        """The same app with so many subscriptions that none takes the events."""
        folder = self.scratch / "many"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HERE / "events", folder)
        entries = [
            f'[[functions.many{n % 10}.on]]\nname = "s{n}"\n{on.replace("NUMBER", str(n))}\n'
            for n in range(SUBSCRIPTIONS - OWN)
        ]
        functions = [f'[functions.many{n}]\nsource = "stuck.mjs"\n' + "".join(entries[n::10]) for n in range(10)]
        with (folder / "evoke.toml").open("a") as manifest:
            manifest.write("\n" + "\n".join(functions))
        self.server.command("deploy", str(folder))

    def pending(self, count: int) -> dict:
        """That many invocations that nobody works off: memory, and a start after `kill -9`."""
        self.fresh()
        connection = http.client.HTTPConnection(urlsplit(self.server.admin_url).netloc, timeout=60)
        headers = {
            "authorization": f"Bearer {self.server.token()}",
            "content-type": "application/cloudevents-batch+json",
        }
        for first in range(0, count, BATCH):
            events = [
                {"specversion": "1.0", "type": "bench.wait", "source": "/bench", "id": f"w{n}", "data": {"n": n}}
                for n in range(first, min(first + BATCH, count))
            ]
            connection.request("POST", f"/v1/apps/{APP}/events", json.dumps(events), headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 202, (answer.status, body)
        memory = memory_kib(self.server.pid)
        self.server.kill()
        seconds = self.server.start()
        return {
            "rss_kib": memory["rss"],
            "open_ms": round(seconds * 1000),
            "rss_after_kib": memory_kib(self.server.pid)["rss"],
        }


def beside(figures: dict, file: dict) -> dict:
    """With what the plain file did, and the ratio."""
    ratio = round(figures["per_second"] / max(1, file["per_second"]), 2)
    return figures | {"file_per_second": file["per_second"], "ratio": ratio}


def row(figures: dict) -> str:
    return "  ".join(UNITS[name](value) for name, value in figures.items() if name in UNITS)


UNITS = {
    "per_second": lambda n: f"{n:>9,.0f} /s",
    "p50_us": lambda us: f"p50 {us / 1000:>7.1f} ms",
    "p99_us": lambda us: f"p99 {us / 1000:>7.1f} ms",
    "cpu_us": lambda us: f"cpu {us:>6.1f} us",
    "file_per_second": lambda n: f"file {n:>9,.0f} /s",
    "ratio": lambda n: f"ratio {n:.2f}",
    "more_us_per_event": lambda us: f"{us:,.1f} us of processor time more an event",
    "rss_kib": lambda kib: f"RSS {kib / 1024:.0f} MiB",
    "open_ms": lambda ms: f"ready {ms:,.0f} ms after kill -9",
    "rss_after_kib": lambda kib: f"then RSS {kib / 1024:.0f} MiB",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="events", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--load", type=Path, required=True, help="the evoke-load executable, built in release mode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement under load")
    parser.add_argument("--pending", type=int, default=1_000_000, help="invocations that wait; 0 leaves that out")
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-bench-", dir="/var/tmp"))  # A disk, where /tmp may be memory.
    server = Server(options.binary.resolve(), scratch / "data")
    bench = Bench(server, options.load.resolve(), options.seconds, scratch)
    try:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            bench.round(options.pending if number == 0 else 0)
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\nmedians of {options.rounds} rounds")
    for name, figures in medians_of(bench.found).items():
        print(f"  {name:<60} {row(figures)}")
    if options.json:
        options.json.write_text(
            json.dumps({"medians": medians_of(bench.found), "rounds": bench.found}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
