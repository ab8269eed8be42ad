"""Three Rust crates become components and answer: an instance for each call, one that is kept, and one with 128 MiB in place.

Ends with 0 only if every check held. Leaves nothing behind. Needs cargo with the target wasm32-wasip2.
"""

import argparse
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
sys.dont_write_bytecode = True

from rig.checks import Checks
from rig.processes import descendants, memory_kib
from rig.server import Server, ServerError

TABLE_MIB = 128
AT_ONCE = 20
SECONDS = 60


def tell(server: Server, scratch: Path, checks: Checks) -> None:
    server.start()
    app = scratch / "components"
    shutil.copytree(HERE.parent, app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke", "target"))
    print("Three crates are built, and one of them computes its table")
    print(server.command("deploy", str(app)))

    print("WASI 0.2: an instance for each call")
    for _ in range(3):
        checks.equal("the greeting", "Hello, Ada; call 1 of this instance", get(server, "/greet/Ada")[1])

    print("WASI 0.3, kept")
    counted = [get(server, "/count")[1] for _ in range(3)]
    checks.equal("three calls of one instance", [f"call {n} of this instance" for n in (1, 2, 3)], counted)

    print(f"{TABLE_MIB} MiB that are there before the first request")
    begin = time.perf_counter()
    checks.equal("the divisors of 30,030", (200, "64"), get(server, "/divisors/30030"))
    took = (time.perf_counter() - begin) * 1000
    used = processor_time(server, "divisors") * 1000
    checks.holds("the first answer does not wait for data", used < 200, f"{took:.1f} ms, {used:.1f} of a processor")
    checks.equal("what is not in the table", 404, get(server, "/divisors/0")[0])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        numbers = [n * 100_000 + 1 for n in range(1, 200)]
        found = list(pool.map(lambda n: get(server, f"/divisors/{n}")[1], numbers))
    checks.equal("199 more, 20 at once", [str(divisors(n)) for n in numbers], found, show=len(found))
    workers = [pid for pid in descendants(server.pid) if b"worker\0wasm" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    mib = sum(memory_kib(pid)["pss"] for pid in workers) / 1024
    checks.holds("all of them share the table", mib < 2 * TABLE_MIB, f"{mib:.0f} MiB in all")
    checks.equal("exit code of the server after SIGTERM", 0, server.stop())


def get(server: Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.data_url + path, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode().strip()


def processor_time(server: Server, function: str) -> float:
    """Seconds of it that the only call of `function` took, whatever else the machine was busy with."""
    deadline = time.monotonic() + SECONDS
    while not (runs := [run for run in server.pages("components", "runs", function=function) if run["attempts"]]):
        if time.monotonic() > deadline:
            raise ServerError(f"waited {SECONDS} s for the run of {function}")
        time.sleep(0.05)
    return runs[0]["attempts"][0]["usage"]["cpu_us"] / 1e6


def divisors(number: int) -> int:
    """By trial division."""
    count, rest, factor = 1, number, 2
    while factor * factor <= rest:
        times = 0
        while rest % factor == 0:
            rest, times = rest // factor, times + 1
        count, factor = count * (times + 1), factor + 1
    return count * (2 if rest > 1 else 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    scratch = Path(tempfile.mkdtemp(prefix="evoke-components-"))
    server = Server(parser.parse_args().binary.resolve(), scratch / "data")
    checks, begin = Checks(), time.monotonic()
    try:
        tell(server, scratch, checks)
    except ServerError as error:
        print(f"\n{error}\n\nthe server's last words:\n{server.last_words()}", file=sys.stderr)
        return 1
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    print(
        f"\ncomponents: {checks.passed} checks passed, {len(checks.failed)} failed, in {time.monotonic() - begin:.0f} s"
    )
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
