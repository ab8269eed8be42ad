"""Warm calls beside functions-framework, Google's own server for functions on one's own machine: the same handler, which answers
`hello`, on the same machine in the same run.

    make bench ARGS=compare    # or, with both executables built in release mode:
    python3 bench/compare.py --binary target/release/evoke --load target/release/evoke-load

In each round the contenders take turns, so that a slow moment of the machine does not hit one of them only; the figures are medians
over the rounds. Each runs as its documents say for production: the Python one under gunicorn with the workers and threads it chooses
by itself, the Node.js one in its one process. Evoke runs with all the layers of the sandbox that the machine has, and starts as many
instances as it sees fit. "all CPU" counts the processes of a contender together, "server CPU" Evoke's own without the functions.
Packages come from the registries and are kept in --tools. Reports, not gates: nothing fails because it is slow.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from contender import Function, answers, cpu_seconds, free_port, medians_of
from rig.processes import descendants
from rig.server import Server

START_SECONDS = 60
WARM_UP_SECONDS = 1.0


class Framework:
    """A functions-framework process."""

    def __init__(self, name: str, command: list[str], folder: Path):
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process = subprocess.Popen(
            [*command, "--target=hello", f"--port={self.port}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        begin = time.monotonic()
        while not answers(self.url):
            if self.process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                raise SystemExit(f"{self.name} does not answer at {self.url}")
            time.sleep(0.05)

    def cpu(self) -> dict[str, float]:
        return {"all": sum(map(cpu_seconds, [self.process.pid, *descendants(self.process.pid)]))}

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def frameworks(tools: Path) -> list[Framework]:
    """Those that can be installed; it is said of the others."""
    tools.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "compare", tools, dirs_exist_ok=True)
    found = []
    venv = tools / "venv"
    if not venv.exists():
        run([sys.executable, "-m", "venv", str(venv)])
    if run([str(venv / "bin/pip"), "install", "-q", "-r", str(tools / "requirements.txt")]):
        command = [str(venv / "bin/functions-framework"), "--source=main.py", "--host=127.0.0.1"]
        found.append(Framework("functions-framework, python", command, tools))
    if run(["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(tools)]):
        found.append(
            Framework("functions-framework, node", [str(tools / "node_modules/.bin/functions-framework")], tools)
        )
    return found


def run(command: list[str]) -> bool:
    done = subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0
    if not done:
        print(f"left out, because this failed: {' '.join(command)}", file=sys.stderr)
    return done


def measure(load: Path, contender: Framework | Function, clients: int, seconds: float) -> dict:
    """Calls a second, times of a call, and processor time of a call, all in one figure each."""

    def calls(seconds: float) -> dict:
        command = [str(load), contender.url, "--clients", str(clients), "--seconds", str(seconds), "--warm-up", "0"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 60)
        return json.loads(done.stdout)

    calls(WARM_UP_SECONDS)
    before = contender.cpu()
    figures = calls(seconds)
    after = contender.cpu()
    for what, spent in after.items():
        figures[f"{what}_cpu_us"] = round((spent - before[what]) * 1e6 / max(figures["requests"], 1), 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="compare", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--load", type=Path, required=True, help="the evoke-load executable, built in release mode")
    parser.add_argument("--tools", type=Path, default=HERE.parent / "target/compare", help="where packages are kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-compare-"))
    server = Server(options.binary.resolve(), scratch / "data")
    contenders: list[Framework | Function] = []
    found: dict[str, list[dict]] = {}
    try:
        server.start()
        server.command("deploy", str(HERE / "hello"))
        contenders += [Function(f"evoke, {language}", server, f"/{language}") for language in ("python", "node")]
        contenders += frameworks(options.tools)
        for contender in contenders:
            contender.wait()
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for clients in (1, 16):
                for contender in contenders:
                    figures = measure(options.load.resolve(), contender, clients, options.seconds)
                    found.setdefault(f"{contender.name}, {clients} clients", []).append(figures)
    finally:
        for contender in contenders:
            contender.stop()
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    show(found, options)


def show(found: dict[str, list[dict]], options: argparse.Namespace) -> None:
    medians = medians_of(found)
    print(f"medians of {options.rounds} rounds of {options.seconds:.0f} s, {os.cpu_count()} processors")
    print(f"{'warm call':<42} {'calls/s':>9} {'p50':>10} {'p99':>10} {'all CPU':>10} {'server CPU':>11}")
    for name, one in sorted(medians.items(), key=lambda item: (item[0].rsplit(" ", 2)[1:], item[0])):
        server = f"{one['server_cpu_us']:>8.0f} µs" if "server_cpu_us" in one else ""
        print(
            f"{name:<42} {one['per_second']:>9,.0f} {one['p50_us'] / 1000:>7.2f} ms {one['p99_us'] / 1000:>7.2f} ms"
            f" {one['all_cpu_us']:>7.0f} µs {server:>11}"
        )
    if options.json:
        options.json.write_text(json.dumps({"medians": medians, "rounds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
