"""Components beside `wasmtime serve` with the same files, and beside a server that is hyper and nothing else, on the same machine in
the same run.

    make bench ARGS=wasm       # or, with all executables built in release mode:
    python3 bench/wasm.py --binary target/release/evoke --load target/release/evoke-load --guests FOLDER

In each round the contenders take turns, so that a slow moment of the machine does not hit one of them only; the figures are medians over
the rounds. Cold starts are of components that were compiled at deploy and that nobody has called since the server started: each has a
file of its own. `wasmtime serve` instantiates 0.2 components for each request and keeps instances of 0.3 components, as it does by
default. Without --wasmtime, or where it cannot be had, it is left out. Reports, not gates: nothing fails because it is slow.
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
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from contender import Function, cpu_seconds, free_port, medians_of
from rig.processes import descendants, memory_kib
from rig.server import Server

START_SECONDS = 30
WARM_UP_SECONDS = 1.0
COLD = 100
SETTLE_SECONDS = 2
CUSTOM_SECTION = 0


class Program:
    """A server that is a process."""

    def __init__(self, name: str, command: list[str], path: str):
        self.name = name
        port = free_port()
        self.url = f"http://127.0.0.1:{port}{path}"
        command = [part.replace("PORT", str(port)) for part in command]
        # In a session of its own like Evoke's server: Linux shares out processors by sessions first (`sched_autogroup`), and whoever has
        # that of the load generator gets more answers for the same work.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def cpu(self) -> dict[str, float]:
        return {"all": cpu_seconds(self.process.pid)}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def make(folder: Path, guests: Path) -> None:
    """The app, with a component file for each cold start."""
    manifest = ['evoke = "1"', "[app]", 'name = "bench"']
    contenders = (("proxy", "proxy.wasm", False), ("service", "service.wasm", False), ("kept", "service.wasm", True))
    for name, source, reuse in contenders:
        manifest += [f"[functions.{name}]", f'source = "{source}"', "concurrency = 64"]
        manifest += ["reuse = true"] if reuse else []
        manifest += ["[[routes]]", f'path = "/{name}/{{rest}}"', f'to = "{name}"']
    for source in ("proxy", "service"):
        shutil.copy(guests / f"{source}.wasm", folder)
    for number in range(COLD):
        (folder / f"cold-{number}.wasm").write_bytes(marked((guests / "proxy.wasm").read_bytes(), number))
        manifest += [f"[functions.cold-{number}]", f'source = "cold-{number}.wasm"']
        manifest += ["[[routes]]", f'path = "/cold-{number}/hello"', f'to = "cold-{number}"']
    (folder / "evoke.toml").write_text("\n".join(manifest) + "\n")


def marked(component: bytes, number: int) -> bytes:
    """The same component with a section that nobody reads, so that it is another file."""
    name = f"cold-{number}".encode()
    content = bytes([len(name)]) + name
    return component + bytes([CUSTOM_SECTION, len(content)]) + content


def measure(load: Path, contender: Program | Function, clients: int, seconds: float) -> dict:
    def calls(seconds: float) -> dict:
        command = [str(load), contender.url, "--clients", str(clients), "--seconds", str(seconds), "--warm-up", "0"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 60)
        return json.loads(done.stdout)

    calls(WARM_UP_SECONDS)
    before = contender.cpu()["all"]
    figures = calls(seconds)
    figures["cpu_us"] = round((contender.cpu()["all"] - before) * 1e6 / max(figures["requests"], 1), 1)
    return figures


def first_answer(server: Server, path: str) -> float:
    """Milliseconds from the request to the last byte of its answer, over a connection that is there."""
    connection = http.client.HTTPConnection(urlsplit(server.data_url).netloc, timeout=30)
    connection.connect()
    begin = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    passed = time.perf_counter() - begin
    connection.close()
    assert answer.status == 200, (path, answer.status)
    return passed * 1000


def await_answer(url: str) -> None:
    begin = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(url, timeout=30).read()
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() - begin > START_SECONDS:
                raise SystemExit(f"nothing answers at {url}") from None
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="wasm", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--load", type=Path, required=True, help="the evoke-load executable, built in release mode")
    parser.add_argument("--guests", type=Path, required=True, help="the folder with proxy.wasm and service.wasm")
    parser.add_argument("--wasmtime", type=Path, help="the wasmtime executable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-wasm-bench-"))
    server = Server(options.binary.resolve(), scratch / "data")
    contenders: list[Program | Function] = []
    found: dict[str, list[dict]] = {}
    try:
        server.start()
        app = scratch / "app"
        app.mkdir()
        make(app, options.guests)
        server.command("deploy", str(app))
        server.stop()
        server.start()
        time.sleep(SETTLE_SECONDS)
        first_answer(server, "/cold-0/hello")
        cold = sorted(first_answer(server, f"/cold-{number}/hello") for number in range(1, COLD))
        workers = [memory_kib(pid)["pss"] for pid in descendants(server.pid)]
        contenders += [
            Function("evoke, 0.2", server, "/proxy/hello"),
            Function("evoke, 0.3", server, "/service/hello"),
            Function("evoke, 0.3 with reuse", server, "/kept/hello"),
        ]
        if options.wasmtime and options.wasmtime.exists():
            for world, source in (("0.2", "proxy"), ("0.3", "service")):
                command = [str(options.wasmtime), "serve", "-Scli", "-Wcomponent-model-async", "-Sp3"]
                command += ["--addr", "127.0.0.1:PORT", str(options.guests / f"{source}.wasm")]
                contenders.append(Program(f"wasmtime serve, {world}", command, "/hello"))
        else:
            print("wasmtime serve is left out: there is no such executable", file=sys.stderr)
        contenders.append(
            Program("hyper and nothing else", [str(options.load.resolve()), "--serve", "127.0.0.1:PORT"], "/")
        )
        for contender in contenders:
            await_answer(contender.url)
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
    show(found, cold, workers, options)


def show(found: dict[str, list[dict]], cold: list[float], workers: list[int], options: argparse.Namespace) -> None:
    medians = medians_of(found)
    print(f"medians of {options.rounds} rounds of {options.seconds:.0f} s, {os.cpu_count()} processors")
    print(f"{'hello':<42} {'calls/s':>9} {'p50':>10} {'p99':>10} {'CPU of a call':>14}")
    for name, one in sorted(medians.items(), key=lambda item: (item[0].rsplit(" ", 2)[1:], item[0])):
        print(
            f"{name:<42} {one['per_second']:>9,.0f} {one['p50_us'] / 1000:>7.2f} ms {one['p99_us'] / 1000:>7.2f} ms"
            f" {one['cpu_us']:>11.0f} µs"
        )
    p50, p99 = (cold[round((len(cold) - 1) * share)] for share in (0.5, 0.99))
    print(f"first answer of a component from disk: least {cold[0]:.2f} ms, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    print(f"processes beside the server with {COLD} components loaded: {sum(workers) / 1024:.0f} MiB PSS")
    if options.json:
        options.json.write_text(json.dumps({"medians": medians, "cold_ms": cold, "rounds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
