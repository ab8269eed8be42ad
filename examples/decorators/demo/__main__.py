"""A service of before gets defaults, validation and another greeting, and is not touched.

Ends with 0 only if every check held. Leaves nothing behind.
"""

import argparse
import json
import re
import shutil
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
from rig.server import Server, ServerError, dies_with_us

SECONDS = 60
CLIENTS = 120
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

    try_out(server, app, checks)
    checks.equal(
        "the service still greets as it always has", "Hello, Ada.", ask(legacy + "/hello?name=Ada")[1]["greeting"]
    )
    checks.equal("exit code of the server after SIGTERM", 0, server.stop())


def try_out(server: Server, app: Path, checks: Checks) -> None:
    """The experiment on /hello, from its first request to its end."""
    print("Another greeting, tried on some")
    url = server.data_url + "/hello?name=Ada"
    said, cookies = {"greeting=usual": set(), "greeting=polite": set()}, []
    for _ in range(CLIENTS):
        _, told, fields = ask(url)
        said[fields["evoke-variant"]].add(told["greeting"])
        cookies.append((fields["set-cookie"].split(";")[0], told["greeting"]))
    checks.equal("some clients get the usual one", {"Hello, Ada."}, said["greeting=usual"])
    checks.equal("others the polite one", {"Good day, Ada."}, said["greeting=polite"])

    def kept() -> int:
        return sum(ask(url, cookie=cookie)[1]["greeting"] == greeting for cookie, greeting in cookies)

    def everybody() -> set[str]:
        return {ask(url, cookie=cookie)[1]["greeting"] for cookie, _ in cookies}

    checks.equal("each keeps what it got", CLIENTS, kept())
    stats = settled(server)
    polite, casual = variant(stats, "polite"), variant(stats, "casual")
    share = polite["total"]["requests"] / stats["total"]["requests"]
    # By chance alone it is outside of these less than once in a million times.
    near = 0.1 < share < 0.53
    checks.equal(f"the part of the polite one is near its weight ({share:.0%})", True, near)
    checks.equal("each variant has its percentiles", True, all(polite["total"][p] > 0 for p in ("p50_ms", "p99_ms")))
    shadow = casual["total"]["shadow"]
    checks.equal("copies went to the casual one", True, shadow["compared"] > 0)
    checks.equal("and what it would have said always differed", shadow["compared"], shadow["differing"])
    checks.equal("a sample says in what", "body /greeting", casual["samples"][0]["differences"][0]["what"])
    run = casual["samples"][0]["shadow_by"]
    checks.equal("and which run that was", True, "greet-hi" in server.command("runs", "get", run, app="decorators"))

    print("It has won")
    diff = server.command("routes", "promote", "hello", "polite", "--dir", str(app))
    checks.equal("everybody gets it at once", {"Good day, Ada."}, everybody())
    told = server.command("deploy", str(app))
    checks.equal("a deployment without the change is told so", True, "was promoted" in told)
    checks.equal("and changes nothing", {"Good day, Ada."}, everybody())
    server.command("routes", "demote", "hello", app="decorators")
    checks.equal("undone, each has its own again", CLIENTS, kept())
    server.command("routes", "promote", "hello", "polite", "--dir", str(app))
    before = (app / "evoke.toml").read_text()
    patch = subprocess.run(["patch", "-p1"], cwd=app, input=diff, text=True, capture_output=True, check=False)
    checks.equal("the change applies", 0, patch.returncode)
    after = (app / "evoke.toml").read_text()
    gone = [line for line in before.splitlines() if line.startswith("# ") and line not in after]
    checks.equal("comments stayed, but for the experiment's own", 1, len(gone))
    checks.equal("the experiment is gone", False, "[experiments" in after)
    server.command("deploy", str(app))
    checks.equal("and everybody still gets the polite one", {"Good day, Ada."}, everybody())


def settled(server: Server) -> dict:
    """Figures of the route, once all copies have been compared or left out."""
    deadline = time.monotonic() + SECONDS
    while True:
        stats = json.loads(server.command("--json", "routes", "stats", "hello", app="decorators"))
        shadow = variant(stats, "casual")["total"]["shadow"]
        if shadow["compared"] + sum(shadow["left_out"].values()) == stats["total"]["requests"]:
            return stats
        if time.monotonic() > deadline:
            raise ServerError(f"copies are under way for too long: {shadow}")
        time.sleep(0.05)


def variant(stats: dict, name: str) -> dict:
    return next(one for one in stats["experiments"][0]["variants"] if one["name"] == name)


def ask(
    url: str, value=None, content_type: str = "application/json", cookie: str | None = None
) -> tuple[int, dict, dict]:
    """Status, the JSON of the answer, its header fields."""
    body = None if value is None else json.dumps(value).encode()
    fields = ({"Content-Type": content_type} if body else {}) | ({"Cookie": cookie} if cookie else {})
    request = urllib.request.Request(url, body, fields)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def start_legacy() -> tuple[subprocess.Popen, str]:
    """The service, on a port that the system chooses, and its URL."""
    command = [*dies_with_us(), sys.executable, str(HERE.parent / "legacy.py"), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = re.search(r"http://\S+", process.stdout.readline())
    if said is None:
        process.kill()
        raise ServerError("legacy.py does not listen")
    return process, said[0]


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
