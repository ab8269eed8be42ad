"""A service of before gets defaults, validation and another greeting, and is not touched.

Ends with 0 only if every check held. Leaves nothing behind.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
sys.dont_write_bytecode = True

from rig.checks import Checks
from rig.server import Server, ServerError

SECONDS = 30
ORDER = {"items": [{"price": 5, "count": 2}]}


def tell(server: Server, legacy: str, scratch: Path, checks: Checks) -> None:
    server.start()
    app = scratch / "decorators"
    shutil.copytree(HERE.parent, app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke"))
    manifest = app / "evoke.toml"
    manifest.write_text(manifest.read_text().replace("http://127.0.0.1:8081", legacy))
    print(server.command("deploy", str(app)))

    print("The service by itself")
    checks.equal("an order without a currency wakes somebody", 500, ask(legacy + "/orders", ORDER)[0])
    checks.equal("it greets as it always has", "Hello, Ada.", ask(legacy + "/hello?name=Ada")[1]["greeting"])

    print("The same with decorators in front")
    orders = server.data_url + "/orders"
    status, told, _ = ask(orders, ORDER)
    checks.equal("what an order lacks is filled in", (201, {"total": "10 EUR", "gift": False}), (status, told))
    status, told, _ = ask(orders, ORDER | {"currency": "CHF", "gift": True})
    checks.equal("what it has stays", (201, {"total": "10 CHF", "gift": True}), (status, told))
    status, told, _ = ask(orders, {"items": [{"price": 5}, {"price": -1, "count": 1}]})
    checks.equal("an order of another shape is refused", (422, "invalid_body"), (status, told.get("code")))
    pointers = [error["pointer"] for error in told.get("errors", [])]
    checks.equal("the problem names each place", ["/items/0", "/items/1/price"], pointers)
    dear = {"items": [{"price": 600, "count": 2}]}
    status, told, _ = ask(orders, dear)
    checks.equal("a dear one of nobody is refused", (422, "invalid_order"), (status, told.get("code")))
    checks.equal("of somebody it is taken", 201, ask(orders, dear | {"customer": "Ada"})[0])
    status, told, _ = ask(orders, ORDER | {"note": "x" * 70_000})
    checks.equal("one that is too large too", (413, "too_large"), (status, told.get("code")))
    status, told, _ = ask(orders, "no order", "text/plain")
    checks.equal("and what is no JSON", (415, "unsupported_media_type"), (status, told.get("code")))

    print("Another greeting")
    status, told, fields = ask(server.data_url + "/hello?name=Ada")
    checks.equal("is what clients get", (200, "Good day, Ada."), (status, told.get("greeting")))
    run = fields["evoke-run"]
    checks.equal(
        "the run of its decorator can be looked at",
        True,
        "greet" in server.command("runs", "get", run, app="decorators"),
    )
    checks.equal(
        "the service still greets as it always has", "Hello, Ada.", ask(legacy + "/hello?name=Ada")[1]["greeting"]
    )
    checks.equal("exit code of the server after SIGTERM", 0, server.stop())


def ask(url: str, value=None, content_type: str = "application/json") -> tuple[int, dict, dict]:
    """Status, the JSON of the answer, its header fields."""
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, body, {"Content-Type": content_type} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def start_legacy() -> tuple[subprocess.Popen, str]:
    """The service, and its URL, once it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE.parent / "legacy.py"), str(port)])
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, f"http://127.0.0.1:{port}"
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise ServerError("legacy.py does not listen") from None
            time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    scratch = Path(tempfile.mkdtemp(prefix="evoke-decorators-"))
    server = Server(parser.parse_args().binary.resolve(), scratch / "data", ("--egress-allow", "127.0.0.0/8"))
    process, legacy = start_legacy()
    checks, begin = Checks(), time.monotonic()
    try:
        tell(server, legacy, scratch, checks)
    except ServerError as error:
        print(f"\n{error}\n\nthe server's last words:\n{server.last_words()}", file=sys.stderr)
        return 1
    finally:
        server.stop()
        process.kill()
        process.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    print(
        f"\ndecorators: {checks.passed} checks passed, {len(checks.failed)} failed, in {time.monotonic() - begin:.0f} s"
    )
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
