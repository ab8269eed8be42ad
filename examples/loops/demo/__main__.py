"""Five loops, each started once: how many runs it takes until it is stopped, how long, and what is said of it.

Ends with 0 only if every check held. Leaves nothing behind.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP = HERE.parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
sys.dont_write_bytecode = True

from rig.checks import Checks
from rig.server import Server, ServerError, dies_with_us

SECONDS = 60
RUNS = 17  # A chain has no more with the bounds that are set.
RATE = 60  # Of `stripped`, within a minute.


class Story:
    def __init__(self, server: Server, scratch: Path):
        self.server, self.scratch = server, scratch
        self.checks = Checks()
        self.echo: subprocess.Popen | None = None

    def tell(self) -> None:
        self.everything_starts()
        self.requested("calls", "/call-a", "call-a → call-b → call-c → call-a", ("call-a", "call-b", "call-c"))
        self.events()
        self.requested("requests to its own routes", "/net-a", "net-a → net-b → net-a", ("net-a", "net-b"))
        self.requested("requests through another server", "/outside", "outside → outside", ("outside",))
        self.stripped()
        self.checks.equal("exit code of the server after SIGTERM", 0, self.server.stop())

    def close(self) -> None:
        if self.echo is not None:
            self.echo.kill()
            self.echo.wait()
        self.server.stop()

    # ── the acts ──

    def everything_starts(self) -> None:
        self.server.start()
        listens = self.server.data_url.removeprefix("http://")
        echo = self.start_echo()
        app = self.scratch / "loops"
        shutil.copytree(APP, app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke"))
        manifest = app / "evoke.toml"
        text = manifest.read_text().replace("127.0.0.1:7070", listens).replace("127.0.0.1:7171", echo)
        manifest.write_text(text)
        said = self.server.command("deploy", str(app))
        print(said)
        self.checks.holds(
            "deploy warns of what the manifest tells of",
            all(f"circle: {first}-a —" in said for first in ("call", "event")),
            "two circles",
        )
        # So that what is timed is the loop and not the first starts.
        for path in ("/call-a", "/net-a", "/outside"):
            self.post(path)
        self.server.command("send", "ring.a", app="loops")
        self.until("the first rounds to end", lambda: self.stopped("event-") and self.quiet())
        self.seen = self.count()

    def requested(self, way: str, path: str, cycle: str, functions: tuple[str, ...]) -> None:
        print(f"By {way}")
        before, told, begin = self.count(), len(self.stopped(*functions)), time.monotonic()
        status, answer = self.post(path)
        took = time.monotonic() - begin
        self.until("its runs to be kept", self.quiet)
        ran = self.count() - before
        self.checks.equal("the first caller gets", (508, "loop_detected"), (status, answer.get("code")))
        self.checks.holds(
            "the answer names the way round", cycle in answer.get("detail", ""), answer.get("detail", "")[:160]
        )
        self.checks.holds(f"runs until it was stopped, at most {RUNS}", 1 < ran <= RUNS, f"{ran}, {took * 1000:.0f} ms")
        self.until("it to be told", lambda: len(self.stopped(*functions)) > told)
        self.checks.holds("and it is told", True, "evoke.loop.stopped")

    def events(self) -> None:
        print("By events")
        before, letters, begin = self.count(), len(self.letters()), time.monotonic()
        self.server.command("send", "ring.a", app="loops")
        self.until("a dead letter", lambda: len(self.letters()) > letters)
        took = time.monotonic() - begin
        self.until("its runs to be kept", self.quiet)
        ran = self.count() - before
        reason = self.letters()[0]["reason"]
        self.checks.holds("the dead letter names the way round", "event-a → event-b → event-c" in reason, reason[:160])
        self.checks.holds(f"runs until it was stopped, at most {RUNS}", 1 < ran <= RUNS, f"{ran}, {took * 1000:.0f} ms")

    def stripped(self) -> None:
        print("Through a server that says nothing")
        before = self.count()
        self.checks.equal("the caller gets what the other server says", 202, self.post("/stripped")[0])
        self.until("it to be told", lambda: self.stopped("stripped"))
        self.until("its runs to be kept", self.quiet)
        ran = self.count() - before
        self.checks.equal("runs within the minute", RATE, ran)
        reason = self.stopped("stripped")[0]["reason"]
        self.checks.holds("the bound is named", "rate" in reason, reason[:160])

    # ── what they do ──

    def post(self, path: str) -> tuple[int, dict]:
        request = urllib.request.Request(self.server.data_url + path, b"", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, {}
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def count(self) -> int:
        """Runs whose handler was called, but that of `watch`."""
        called = [run for run in self.runs() if any(attempt["outcome"] != "rejected" for attempt in run["attempts"])]
        return sum(run["function"] != "watch" for run in called)

    def quiet(self) -> bool:
        """Whether everything that began has ended."""
        return not self.server.unsettled("loops")

    def runs(self) -> list[dict]:
        return self.server.pages("loops", "runs")

    def letters(self) -> list[dict]:
        return self.server.pages("loops", "dead-letters")

    def stopped(self, *functions: str) -> list[dict]:
        """What was told of loops that were stopped at these functions."""
        told = [stored["event"]["data"] for stored in self.server.pages("loops", "events", type="evoke.loop.stopped")]
        return [data for data in told if data["function"].startswith(functions)]

    def until(self, what: str, reached) -> None:
        deadline = time.monotonic() + SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise ServerError(f"waited {SECONDS} s for {what}")
            time.sleep(0.02)

    def start_echo(self) -> str:
        """Host and port."""
        command = [sys.executable, str(APP / "echo.py"), "--port", "0", "--to", self.server.data_url]
        self.echo = subprocess.Popen([*dies_with_us(), *command], stdout=subprocess.PIPE, text=True)
        said = re.search(r"http://(\S+)", self.echo.stdout.readline())
        if said is None:
            raise ServerError("the echo service did not start")
        return said[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="evoke-loops-"))
    server = Server(options.binary.resolve(), scratch / "data", ("--egress-allow", "127.0.0.0/8"))
    story = Story(server, scratch)
    begin = time.monotonic()
    try:
        story.tell()
    except (ServerError, OSError) as error:
        story.checks.failed.append(str(error))
        print(f"{error}\n{server.last_words()}", file=sys.stderr)
    finally:
        story.close()
        shutil.rmtree(scratch, ignore_errors=True)
    checks = story.checks
    print(f"\nloops: {checks.passed} checks passed, {len(checks.failed)} failed, in {time.monotonic() - begin:.0f} s")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
