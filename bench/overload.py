"""`make bench ARGS=overload`: ten times the load that can be sustained, and what becomes of it.

For each function: what it sustains (closed loop, as many clients as its concurrency), what one client alone sees, then an
open loop with ten times the first, and after that half of it until all is well again. Reports, not gates; the bounds that are
meant are printed beside. The first two seconds of the overload do not count: that is how long it may take to be seen as one.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.dont_write_bytecode = True

from rig.processes import memory_kib
from rig.server import Server

CONCURRENCY = {"waits": 20, "computes": 2}
TIMES = 10
RATIO_MAX = 3
RECOVERY_MAX_SECONDS = 5
WARM_UP_SECONDS = 2
SLICE_SECONDS = 0.5
CONNECTIONS = 2000


class Overload:
    def __init__(self, server: Server, load: Path, seconds: float):
        self.server = server
        self.load = load
        self.seconds = seconds

    def function(self, name: str) -> dict:
        url = f"{self.server.data_url}/{name}"
        sustained = self.generate(url, "--clients", CONCURRENCY[name], "--seconds", self.seconds / 2)["per_second"]
        alone = self.generate(url, "--clients", 1, "--seconds", self.seconds / 2)
        before = memory_kib(self.server.pid)["rss"]
        with Highest(self.server) as highest:
            flood = self.open(url, sustained * TIMES, self.seconds, WARM_UP_SECONDS)
        recovery = self.recovery(url, sustained / 2, alone["p99_us"] * RATIO_MAX)
        answered = sum(flood["statuses"].values())
        share = {f"{status}": count / answered for status, count in flood["statuses"].items()}
        return {
            "sustained_per_second": sustained,
            "offered_per_second": round(flood["offered"] / self.seconds),
            "alone_p99_us": alone["p99_us"],
            "accepted_per_second": round(flood["statuses"].get("200", 0) / self.seconds),
            "accepted_p99_us": flood["p99_us"],
            "ratio": round(flood["p99_us"] / alone["p99_us"], 2),
            "refused_p99_us": flood["refused_p99_us"],
            "share": {status: round(part, 3) for status, part in share.items()},
            "failed": flood["failed"],
            "unsent": flood["unsent"],
            "rss_before_kib": before,
            "rss_highest_kib": highest.kib,
            "recovery_s": recovery,
        }

    def recovery(self, url: str, rate: float, p99_us: float) -> float | None:
        """Seconds until half of what can be sustained is all answered, within three times what one client sees."""
        begin = time.monotonic()
        while time.monotonic() - begin < RECOVERY_MAX_SECONDS * 4:
            passed = time.monotonic() - begin
            slice_ = self.open(url, rate, SLICE_SECONDS, 0)
            if set(slice_["statuses"]) == {"200"} and not slice_["failed"] and slice_["p99_us"] <= p99_us:
                return round(passed, 1)
        return None

    def open(self, url: str, rate: float, seconds: float, warm_up: float) -> dict:
        rate = max(rate, 4)
        return self.generate(
            url, "--open", "--rate", rate, "--clients", CONNECTIONS, "--seconds", seconds, "--warm-up", warm_up
        )

    def generate(self, url: str, *options: object) -> dict:
        command = [str(self.load), url, *(str(option) for option in options)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=self.seconds + 120)
        return json.loads(done.stdout)


class Highest:
    """The largest resident set of the server while this is open."""

    def __init__(self, server: Server):
        self.server = server
        self.kib = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def look(self) -> None:
        while not self.over.wait(0.2):
            self.kib = max(self.kib, memory_kib(self.server.pid)["rss"])


def tell(name: str, found: dict) -> None:
    ms = {key: found[key] / 1000 for key in ("alone_p99_us", "accepted_p99_us", "refused_p99_us")}
    mib = {key: found[key] / 1024 for key in ("rss_before_kib", "rss_highest_kib")}
    refused = ", ".join(f"{status}: {part:.1%}" for status, part in found["share"].items())
    recovery = "not seen" if found["recovery_s"] is None else f"{found['recovery_s']:.1f} s"
    print(f"{name}: sustains {found['sustained_per_second']:,}/s, was offered {found['offered_per_second']:,}/s")
    print(f"  answered           {found['accepted_per_second']:,}/s   (of all answers {refused})")
    print(
        f"  p99 of those       {ms['accepted_p99_us']:.1f} ms, alone {ms['alone_p99_us']:.1f} ms: {found['ratio']} times (bound {RATIO_MAX})"
    )
    print(f"  p99 of refusals    {ms['refused_p99_us']:.1f} ms")
    print(f"  resident memory    {mib['rss_before_kib']:.0f} MiB before, {mib['rss_highest_kib']:.0f} MiB at most")
    print(f"  well again after   {recovery} (bound {RECOVERY_MAX_SECONDS} s)")
    if found["failed"] or found["unsent"]:
        print(f"  no answer          {found['failed']} failed, {found['unsent']} without a free connection")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="overload", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--load", type=Path, required=True, help="the evoke-load executable, built in release mode")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the overload")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-bench-"))
    server = Server(options.binary.resolve(), scratch / "data")
    found = {}
    try:
        server.start()
        server.command("deploy", str(HERE / "overload"))
        overload = Overload(server, options.load.resolve(), options.seconds)
        for name in CONCURRENCY:
            found[name] = overload.function(name)
            tell(name, found[name])
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
