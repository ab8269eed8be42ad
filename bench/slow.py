"""`make bench ARGS=slow`: thousands of clients that are slow on purpose, and what good ones see meanwhile.

The slow ones come from addresses of their own on the loopback network: some never end their head, some send a body byte by
byte, some do not read what they asked for. A good client asks one request after the other, each on a new connection. Reports,
not gates; the bounds that are meant are printed beside.
"""

import argparse
import json
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.dont_write_bytecode = True

from overload import Highest
from rig.processes import memory_kib
from rig.server import Server

KINDS = {
    "head": b"POST /waits HTTP/1.1\r\nHost: slow\r\nX-A: ",
    "body": b"POST /waits HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n",
    "reader": b"GET /large HTTP/1.1\r\nHost: slow\r\n\r\n",
}
MANIFEST = """evoke = "1"
[app]
name = "slow"
[functions.large]
source = "large.py"
concurrency = 8
waiting = 10000
[functions.good]
source = "waits.py"
[functions.waits]
source = "waits.py"
concurrency = 8
waiting = 10000
[[routes]]
path = "/large"
to = "large"
[[routes]]
path = "/waits"
to = "waits"
[[routes]]
path = "/good"
to = "good"
"""
LARGE = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'x' * 4_000_000}\n"
WAITS = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'good'}\n"
OPTIONS = ("--head-timeout", "5s", "--idle-timeout", "5s", "--min-rate-grace", "3s")
PATIENCE_SECONDS = 10


def flood(target: tuple[str, int], clients: int, over: threading.Event, held: dict[str, int]) -> None:
    """Keeps so many slow connections open; those the server ends are opened again."""
    open_: list[tuple[str, socket.socket]] = []
    kinds = list(KINDS)
    opened = 0
    while not over.is_set():
        while len(open_) < clients and not over.is_set():
            kind = kinds[opened % len(kinds)]
            slow = socket.socket()
            slow.settimeout(1)
            try:
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                slow.bind((f"127.0.{1 + opened % 50}.{1 + opened % 200}", 0))
                slow.connect(target)
                slow.sendall(KINDS[kind])
                slow.setblocking(False)
                open_.append((kind, slow))
            except OSError:
                slow.close()
                break
            finally:
                opened += 1
        left = []
        for kind, slow in open_:
            try:
                if kind == "reader":
                    slow.send(b"")
                else:
                    slow.send(b"a")
                    if slow.recv(4096) == b"":
                        raise ConnectionError
                left.append((kind, slow))
            except BlockingIOError:
                left.append((kind, slow))
            except OSError:
                slow.close()
        open_ = left
        held["now"], held["opened"] = len(open_), opened
        held["most"] = max(held.get("most", 0), len(open_))
        over.wait(0.5)
    for _, slow in open_:
        slow.close()


def ask(target: tuple[str, int]) -> float | None:
    """One good request; how long it took, or None if it failed."""
    begin = time.monotonic()
    try:
        with socket.create_connection(target, timeout=PATIENCE_SECONDS) as good:
            good.sendall(b"GET /good HTTP/1.1\r\nHost: good\r\nConnection: close\r\n\r\n")
            answer = b""
            while more := good.recv(4096):
                answer += more
    except OSError:
        return None
    return time.monotonic() - begin if answer.startswith(b"HTTP/1.1 200") else None


def p99(seen: list[float]) -> float:
    return sorted(seen)[int(len(seen) * 0.99)] * 1000 if seen else 0.0


def asked(target: tuple[str, int], seconds: float) -> list[float | None]:
    until = time.monotonic() + seconds
    seen = []
    while time.monotonic() < until:
        seen.append(ask(target))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="slow", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable, built in release mode")
    parser.add_argument(
        "--clients", type=int, default=6000, help="slow ones at the same time, as file descriptors allow"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of the flood")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = min(options.clients, hard - 200)

    scratch = Path(tempfile.mkdtemp(prefix="evoke-bench-"))
    server = Server(options.binary.resolve(), scratch / "data", OPTIONS)
    app = scratch / "app"
    app.mkdir()
    for name, text in {"evoke.toml": MANIFEST, "large.py": LARGE, "waits.py": WAITS}.items():
        (app / name).write_text(text)
    try:
        server.start()
        server.command("deploy", str(app))
        split = urlsplit(server.data_url)
        target = (split.hostname or "", split.port or 0)
        alone = [took for took in asked(target, 3) if took is not None]
        before = memory_kib(server.pid)["rss"]
        over, held = threading.Event(), {"now": 0}
        flooding = threading.Thread(target=flood, args=(target, clients, over, held))
        flooding.start()
        time.sleep(5)
        with Highest(server) as highest:
            seen = asked(target, options.seconds)
        over.set()
        flooding.join()
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    good = [took for took in seen if took is not None]
    found = {
        "slow_at_most": held["most"],
        "slow_opened": held["opened"],
        "asked": len(seen),
        "answered": len(good),
        "alone_p99_ms": round(p99(alone), 1),
        "p99_ms": round(p99(good), 1),
        "rss_before_kib": before,
        "rss_highest_kib": highest.kib,
    }
    print(f"slow clients       {found['slow_at_most']:,} at the same time, {found['slow_opened']:,} in all")
    print(f"good requests      {found['answered']:,} of {found['asked']:,} answered (bound: all)")
    print(f"p99                {found['p99_ms']} ms, without slow clients {found['alone_p99_ms']} ms")
    print(f"resident memory    {before / 1024:.0f} MiB before, {highest.kib / 1024:.0f} MiB at most")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
