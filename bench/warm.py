"""Where a warm call goes: processor time, instructions, system calls and changes of thread of a hello, in the server and in its workers.

    make bench ARGS=warm    # or, with executables built in release mode, two versions in turns:
    python3 bench/warm.py --binary before/evoke --binary after/evoke --load target/release/evoke-load --guests FOLDER

In each round the executables take turns at each function, so that a slow moment of the machine does not hit one of them only; the figures
are medians over the rounds. Processor time and changes of thread depend on what else the machine does; instructions in user mode and system
calls hardly do. Counting is `perf stat` on the running processes: where there is no `perf`, or it may not look, only times are told.
`docs/where-a-call-goes.md` says what the figures mean. Reports, not gates: nothing fails because it is slow.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from contender import cpu_seconds, medians_of
from rig.processes import descendants
from rig.server import Server

WARM_UP_SECONDS = 0.7
COUNTS = {
    "instructions": "instructions:u",
    "system calls": "raw_syscalls:sys_enter",
    "switches": "context-switches",
}
COMPONENTS = (("proxy", "proxy.wasm", False), ("service", "service.wasm", False), ("kept", "service.wasm", True))
PATHS = {
    "python": "/python",
    "node": "/node",
    "wasm 0.2": "/proxy/hello",
    "wasm 0.3": "/service/hello",
    "wasm 0.3, reuse": "/kept/hello",
}


def make(folder: Path, guests: Path) -> None:
    """An app with a hello of each kind."""
    shutil.copytree(HERE / "hello", folder)
    manifest = [(folder / "evoke.toml").read_text()]
    for name, source, reuse in COMPONENTS:
        shutil.copy(guests / source, folder)
        manifest += [f"[functions.{name}]", f'source = "{source}"', "concurrency = 64"]
        manifest += ["reuse = true"] if reuse else []
        manifest += ["[[routes]]", f'path = "/{name}/{{rest}}"', f'to = "{name}"']
    (folder / "evoke.toml").write_text("\n".join(manifest) + "\n")


def counted(pids: list[int], command: list[str], scratch: Path) -> tuple[dict, dict[str, float]]:
    """What the load generator says, and what these processes did meanwhile; nothing of that where it cannot be counted."""
    told = scratch / "stat"
    perf = ["perf", "stat", "-x", ",", "-o", str(told), "-e", ",".join(COUNTS.values()), "-p", ",".join(map(str, pids))]
    if shutil.which("perf"):
        done = subprocess.run([*perf, "--", *command], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            fields = [line.split(",") for line in told.read_text().splitlines()]
            found = {one[2]: float(one[0]) for one in fields if len(one) > 3 and one[0].isdigit()}
            return json.loads(done.stdout), {name: found.get(event, 0.0) for name, event in COUNTS.items()}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout), {}


def measure(server: Server, load: list[str], scratch: Path) -> dict[str, float]:
    """The figures of a call: first of the server, then of its workers, which take a run of their own."""
    figures = {}
    for place, pids in (("server", [server.pid]), ("workers", descendants(server.pid))):
        before = sum(map(cpu_seconds, pids))
        said, counts = counted(pids, load, scratch)
        requests = max(said["requests"], 1)
        figures[f"{place} µs"] = (sum(map(cpu_seconds, pids)) - before) * 1e6 / requests
        figures |= {f"{place} {name}": count / requests for name, count in counts.items()}
        figures["calls/s"] = said["per_second"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="warm", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--binary", type=Path, required=True, action="append", help="an evoke executable; may be given again"
    )
    parser.add_argument("--load", type=Path, required=True, help="the evoke-load executable")
    parser.add_argument("--guests", type=Path, required=True, help="the folder with proxy.wasm and service.wasm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--functions", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-warm-"))
    servers: list[Server] = []
    found: dict[str, list[dict]] = {}

    def load(server: Server, path: str, clients: int, seconds: float) -> list[str]:
        times = ["--seconds", str(seconds), "--warm-up", "0"]
        return [str(options.load.resolve()), server.data_url + path, "--clients", str(clients), *times]

    try:
        for number, binary in enumerate(options.binary):
            server = Server(binary.resolve(), scratch / f"data-{number}")
            servers.append(server)
            server.start()
            make(scratch / f"app-{number}", options.guests)
            server.command("deploy", str(scratch / f"app-{number}"))
            for name in options.functions:
                command = load(server, PATHS[name], 16, WARM_UP_SECONDS)
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for name in options.functions:
                for clients in options.clients:
                    for at, server in enumerate(servers):
                        command = load(server, PATHS[name], clients, options.seconds)
                        key = f"{name}, {clients} clients" + (f", {options.binary[at]}" if len(servers) > 1 else "")
                        found.setdefault(key, []).append(measure(server, command, scratch))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    show(found, options)


def show(found: dict[str, list[dict]], options: argparse.Namespace) -> None:
    medians = medians_of(found)
    for key, figures in medians.items():
        print(key)
        print("   ", "  ".join(f"{name} {value:,.1f}" for name, value in figures.items()))
    if not any("server instructions" in figures for figures in medians.values()):
        print("instructions, system calls and switches are left out: there is no perf, or it may not look")
    if options.json:
        options.json.write_text(json.dumps({"medians": medians, "rounds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
