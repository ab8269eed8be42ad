"""Many functions: what a thousand components cost that nobody calls, that each were called once, and whose worker has gone again; what a
thousand live instances cost; and how long a server takes to start with ten thousand functions.

    make bench ARGS=scale      # or, with the executable built in release mode:
    python3 bench/scale.py --binary target/release/evoke --guests FOLDER

Memory is the proportional set size of the server and of the processes beside it. Each component is a file of its own, compiled by
itself; the ten thousand functions are ten apps with one file each. Reports, not gates.
"""

import argparse
import http.client
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from rig.processes import descendants, memory_kib
from rig.server import Server, ServerError
from wasm import first_answer, marked

APPS = 10
STARTS = 5
WAIT_SECONDS = 180
SETTLE_SECONDS = 2


def deploy(
    server: Server, scratch: Path, name: str, functions: list[tuple[str, bytes, str]], route: str, settings: str = ""
) -> None:
    """An app of (function, component, file name), each with a route, where `{function}` is its name."""
    folder = scratch / name
    folder.mkdir()
    manifest = ['evoke = "1"', "[app]", f'name = "{name}"']
    for function, component, file in functions:
        (folder / file).write_bytes(component)
        manifest += [f"[functions.{function}]", f'source = "{file}"', settings]
        manifest += ["[[routes]]", f'path = "{route.replace("{function}", function)}"', f'to = "{function}"']
    (folder / "evoke.toml").write_text("\n".join(manifest) + "\n")
    server.command("deploy", str(folder))
    shutil.rmtree(folder)


def memory(server: Server) -> dict[str, float]:
    """MiB of the server and of the processes beside it, and how many those are."""
    beside = descendants(server.pid)
    return {
        "server": memory_kib(server.pid)["pss"] / 1024,
        "beside": sum(memory_kib(pid)["pss"] for pid in beside) / 1024,
        "processes": len(beside),
    }


def until(what: str, reached) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise ServerError(f"waited {WAIT_SECONDS} s for {what}")
        time.sleep(0.2)


def components(server: Server, scratch: Path, component: bytes, count: int) -> dict:
    """A thousand components in ten apps: deployed, called, left alone."""
    each = count // APPS
    begin = time.monotonic()
    for app in range(APPS):
        numbers = range(app * each, (app + 1) * each)
        functions = [(f"f{number}", marked(component, number), f"f{number}.wasm") for number in numbers]
        deploy(server, scratch, f"many-{app}", functions, f"/many-{app}/{{function}}/hello")
    found = {"deployed_seconds": time.monotonic() - begin}
    server.stop()
    server.start()
    time.sleep(SETTLE_SECONDS)
    found["deployed"] = memory(server)
    answers = sorted(
        first_answer(server, f"/many-{app}/f{number}/hello")
        for app in range(APPS)
        for number in range(app * each, (app + 1) * each)
    )
    found["first_answer_ms"] = {"p50": statistics.median(answers), "p99": answers[round(len(answers) * 0.99) - 1]}
    found["called"] = memory(server)
    until("workers to go", lambda: len(descendants(server.pid)) <= found["deployed"]["processes"])
    found["left_alone"] = memory(server)
    return found


def live(server: Server, scratch: Path, component: bytes, count: int) -> dict:
    """A thousand calls that wait, each in an instance of its own."""
    settings = 'concurrency = 1000\nmemory = "16MiB"\ntimeout = "300s"'
    deploy(server, scratch, "live", [("wait", component, "wait.wasm")], "/{path}", settings)
    first_answer(server, "/hello")
    before = memory(server)
    place = urlsplit(server.data_url)
    sockets = []
    for _ in range(count):
        connection = http.client.HTTPConnection(place.netloc, timeout=WAIT_SECONDS)
        connection.request("GET", "/sleep")
        sockets.append(connection)
    until("them all to run", lambda: running(server) >= count)
    time.sleep(SETTLE_SECONDS)
    during = memory(server)
    for connection in sockets:
        connection.close()
    until("them all to end", lambda: running(server) == 0)
    return {"before": before, "during": during}


def running(server: Server) -> int:
    return len(server.pages("live", "runs", state="running"))


def start(server: Server, scratch: Path, component: bytes, count: int) -> dict:
    """Ten thousand functions: from the start of the process to both listeners, and to the first answer."""
    begin = time.monotonic()
    for app in range(APPS):
        functions = [(f"f{number}", component, "hello.wasm") for number in range(count // APPS)]
        deploy(server, scratch, f"start-{app}", functions, f"/start-{app}/{{function}}/hello")
    deployed = time.monotonic() - begin
    ready, answered = [], []
    for _ in range(STARTS):
        server.stop()
        begin = time.monotonic()
        ready.append(server.start())
        first_answer(server, f"/start-{APPS - 1}/f{count // APPS - 1}/hello")
        answered.append(time.monotonic() - begin)
    return {
        "deployed_seconds": deployed,
        "ready_seconds": statistics.median(ready),
        "answered_seconds": statistics.median(answered),
        "memory": memory(server),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="scale", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--guests", type=Path, required=True, help="the folder with proxy.wasm")
    parser.add_argument("--components", type=int, default=1000, help="files of their own, and live instances")
    parser.add_argument("--functions", type=int, default=10_000, help="of the server that starts")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    component = (options.guests / "proxy.wasm").read_bytes()
    found = {}
    for name, part, count in (
        ("components", components, options.components),
        ("live", live, options.components),
        ("start", start, options.functions),
    ):
        scratch = Path(tempfile.mkdtemp(prefix="evoke-scale-"))
        room = ("--instances", str(count + 100), "--instance-memory", "64GiB")
        server = Server(options.binary.resolve(), scratch / "data", room if name == "live" else ())
        try:
            server.start()
            empty = memory(server)
            found[name] = {"empty": empty} | part(server, scratch, component, count)
        finally:
            server.stop()
            shutil.rmtree(scratch, ignore_errors=True)
    show(found, options)


def show(found: dict, options: argparse.Namespace) -> None:
    def size(memory: dict) -> str:
        return f"{memory['server']:>6.0f} MiB {memory['beside']:>6.0f} MiB in {memory['processes']}"

    print(f"{'memory (PSS)':<48} {'server':>10} {'beside':>10}")
    many, lives, starts = found["components"], found["live"], found["start"]
    print(f"{'nothing deployed':<48} {size(many['empty'])}")
    for name in ("deployed", "called", "left_alone"):
        title = f"{options.components} components {name.replace('_', ' ')}"
        print(f"{title:<48} {size(many[name])}")
    print(f"{'one component':<48} {size(lives['before'])}")
    print(f"{f'{options.components} live instances of it':<48} {size(lives['during'])}")
    print(f"{f'{options.functions} functions deployed':<48} {size(starts['memory'])}")
    first = many["first_answer_ms"]
    print(f"first answers of {options.components} components: p50 {first['p50']:.2f} ms, p99 {first['p99']:.2f} ms")
    print(
        f"start with {options.functions} functions: ready after {starts['ready_seconds'] * 1000:.0f} ms,"
        f" an answer after {starts['answered_seconds'] * 1000:.0f} ms"
    )
    print(
        f"deploying: {options.components} components {many['deployed_seconds']:.0f} s,"
        f" {options.functions} functions {starts['deployed_seconds']:.0f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
