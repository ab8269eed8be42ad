"""Cold starts over HTTP: from a request to the first byte of its answer where a function has no instance, but the process
that its instances are forked from is there, as after a deploy or a pause. With all layers of the sandbox that the machine has.

    python3 bench/cold.py --binary target/release/evoke

Packages come from the registries (pip, npm); a function whose packages cannot be had is left out, and said to be.
"""

import argparse
import http.client
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
    return {"statusCode": 200, "body": "hello"}
"""
NODE = """export default { async fetch(request) {
  const query = new URL(request.url).search;
  if (query === "?end") process.reallyExit(0);
  if (query === "?hold") await new Promise((next) => setTimeout(next, 3000));
  return new Response("hello");
} };
"""


def make(folder: Path) -> list[str]:
    """The app; the names of its functions. Each has a folder of its own with its packages."""
    manifest = ['evoke = "1"', "[app]", 'name = "cold"']
    present = []
    for name, kind, loads, packages in FUNCTIONS:
        place = folder / name
        place.mkdir(parents=True)
        if packages and not install(place, *packages):
            print(f"{name} is left out: {packages[0]} cannot install {' '.join(packages[1])}", file=sys.stderr)
            continue
        (place / f"main.{kind}").write_text(loads + (PYTHON if kind == "py" else NODE))
        manifest += [
            f"[functions.{name}]",
            f'source = "{name}/main.{kind}"',
            'memory = "256MiB"',
            f"concurrency = {HELD}",
        ]
        manifest += ["[[routes]]", f'path = "/{name}"', f'to = "{name}"']
        present.append(name)
    (folder / "evoke.toml").write_text("\n".join(manifest) + "\n")
    return present


def install(place: Path, tool: str, names: list[str]) -> bool:
    if tool == "pip":
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(place / "site-packages"), *names]
    else:
        command = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(place), *names]
    if subprocess.run(command, check=False).returncode != 0:
        return False
    # What nobody imports, so that it fits into a bundle.
    for path in [*place.rglob("tests"), *place.rglob("include"), *place.rglob("__pycache__")]:
        shutil.rmtree(path, ignore_errors=True)
    return True


def ask(server: Server, path: str) -> float:
    """Milliseconds until the head of the answer is there."""
    connection = http.client.HTTPConnection(urlsplit(server.data_url).netloc, timeout=30)
    connection.connect()
    begin = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    passed = time.perf_counter() - begin
    answer.read()
    connection.close()
    assert answer.status == (502 if path.endswith("?end") else 200), (path, answer.status)
    return passed * 1000


def held_kib(server: Server, name: str) -> int:
    """Proportional set size of twenty busy instances, with their zygote and what is around them."""
    before = set(descendants(server.pid))
    curls = [subprocess.Popen(["curl", "-s", "-o", "/dev/null", f"{server.data_url}/{name}?hold"]) for _ in range(HELD)]
    time.sleep(2)
    new = set(descendants(server.pid)) - before
    kib = sum(memory_kib(pid)["pss"] for pid in new)
    for curl in curls:
        curl.wait()
    assert len(new) >= HELD, f"{len(new)} instances"
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
        names = make(scratch / "app")
        server.start()
        server.command("deploy", str(scratch / "app"))
        times: dict[str, list[float]] = {name: [] for name in names}
        for name in names:
            ask(server, f"/{name}")
        for _ in range(options.starts):
            for name in names:
                ask(server, f"/{name}?end")
                time.sleep(PAUSE_SECONDS)
                times[name].append(ask(server, f"/{name}"))
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
