"""Cold starts over HTTP: from a request to the first byte of its answer where a function has no instance, but the process
that its instances are forked from is there, as after a deploy or a pause. With all layers of the sandbox that the machine has.

    python3 bench/cold.py --binary target/release/evoke

Packages come from the registries (pip, npm); a function whose packages cannot be had is left out, and said to be.
"""

import argparse
import http.client
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.dont_write_bytecode = True

from rig.processes import descendants, memory_kib
from rig.server import Server

PAUSE_SECONDS = 0.05  # The end of the instance before is over then.
HELD = 20

# Name, source file, what it loads, packages: (tool, names).
FUNCTIONS = (
    ("python_bare", "py", "", None),
    ("python_numpy_pillow", "py", "import numpy, PIL.Image\n", ("pip", ["numpy", "pillow"])),
    ("node_bare", "mjs", "", None),
    ("node_express", "mjs", "import express from 'express';\nexpress().get('/', () => {});\n", ("npm", ["express@4"])),
)
PYTHON = """import os, time
def handler(event, context):
    query = event["rawQueryString"]
    if query == "end": os._exit(0)
    if query == "hold": time.sleep(3)
    return {"statusCode": 200, "body": os.readlink("/proc/self/ns/pid")}
"""
NODE = """import { readlinkSync } from 'node:fs';
export default { async fetch(request) {
  const query = new URL(request.url).search;
  if (query === "?end") process.reallyExit(0);
  if (query === "?hold") await new Promise((next) => setTimeout(next, 3000));
  return new Response(readlinkSync("/proc/self/ns/pid"));
} };
"""


def make(folder: Path) -> list[str]:
    """An app for each function, with its packages; the names of the functions."""
    present = []
    for name, kind, loads, packages in FUNCTIONS:
        place = folder / name
        place.mkdir(parents=True)
        if packages and not install(place, *packages):
            print(f"{name} is left out: {packages[0]} cannot install {' '.join(packages[1])}", file=sys.stderr)
            continue
        (place / f"main.{kind}").write_text(loads + (PYTHON if kind == "py" else NODE))
        manifest = ['evoke = "1"', "[app]", f'name = "{name.replace("_", "-")}"']
        manifest += [f"[functions.{name}]", f'source = "main.{kind}"', 'memory = "256MiB"', f"concurrency = {HELD}"]
        manifest += ["[[routes]]", f'path = "/{name}"', f'to = "{name}"']
        (place / "evoke.toml").write_text("\n".join(manifest) + "\n")
        present.append(name)
    return present


def install(place: Path, tool: str, names: list[str]) -> bool:
    if tool == "pip":
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(place / "site-packages"), *names]
    else:
        command = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(place), *names]
    if subprocess.run(command, check=False).returncode != 0:
        return False
    # What nobody imports, so that it fits into a bundle.
    for name in ("tests", "include", "f2py", "__pycache__", "pip"):
        for path in [*place.rglob(name)]:
            shutil.rmtree(path, ignore_errors=True)
    for name in ("*.pyi", "*.a", "*avif*"):
        for path in [*place.rglob(name)]:
            path.unlink(missing_ok=True)
    return True


def ask(server: Server, path: str) -> tuple[float, str]:
    """Milliseconds until the head of the answer is there, and its body."""
    connection = http.client.HTTPConnection(urlsplit(server.data_url).netloc, timeout=30)
    connection.connect()
    begin = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    passed = time.perf_counter() - begin
    body = answer.read().decode()
    connection.close()
    assert answer.status == (502 if path.endswith("?end") else 200), (path, answer.status)
    return passed * 1000, body


def held_kib(server: Server, name: str) -> int:
    """Proportional set size of twenty busy instances, their zygote and process 1: of all in their pid namespace."""
    curls = [subprocess.Popen(["curl", "-s", "-o", os.devnull, f"{server.data_url}/{name}?hold"]) for _ in range(HELD)]
    _, namespace = ask(server, f"/{name}?hold")
    pids = [pid for pid in descendants(server.pid) if os.readlink(f"/proc/{pid}/ns/pid") == namespace]
    kib = sum(memory_kib(pid)["pss"] for pid in pids)
    for curl in curls:
        curl.wait()
    assert len(pids) > HELD, f"{len(pids)} processes"
    return kib


def main() -> None:
    parser = argparse.ArgumentParser(prog="cold", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument("--starts", type=int, default=100, help="of each function")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-cold-"))
    server = Server(options.binary.resolve(), scratch / "data")
    try:
        names = make(scratch)
        server.start()
        for name in names:
            server.command("deploy", str(scratch / name))
        times: dict[str, list[float]] = {name: [] for name in names}
        for name in names:
            ask(server, f"/{name}")
        for _ in range(options.starts):
            for name in names:
                ask(server, f"/{name}?end")
                time.sleep(PAUSE_SECONDS)
                times[name].append(ask(server, f"/{name}")[0])
        print(
            f"{'no instance → first byte':<26} {'least':>9} {'p50':>9} {'p90':>9} {'p99':>9} {'20 busy instances':>20}"
        )
        for name, all_ms in times.items():
            all_ms.sort()
            at = [all_ms[0], statistics.median(all_ms), all_ms[len(all_ms) * 9 // 10], all_ms[len(all_ms) * 99 // 100]]
            figures = " ".join(f"{ms:>6.1f} ms" for ms in at)
            print(f"{name:<26} {figures} {held_kib(server, name) / 1024:>16.0f} MiB")
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
