"""Versions come and go under load: a bad canary, a good one, a bad deployment, the way back. Counts what clients met.

Ends with 0 only if every check held. Leaves nothing behind.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP = HERE.parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
sys.dont_write_bytecode = True

from rig.checks import Checks
from rig.server import Server, ServerError

SECONDS = 60
CLIENTS = 4


class Clients:
    """Ask for the price, one after the other each, and count what they get."""

    def __init__(self, url: str):
        self.url, self.over, self.lock = url, threading.Event(), threading.Lock()
        self.met: Counter[tuple[int, str, str]] = Counter()
        self.since: Counter[tuple[int, str, str]] = Counter()
        self.mark = 0
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self) -> None:
        while not self.over.is_set():
            mark = self.mark
            got = self.once()
            with self.lock:
                self.met[got] += 1
                self.since[got] += mark == self.mark

    def once(self) -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(self.url, timeout=SECONDS) as answer:
                said = json.load(answer)
                return answer.status, said["release"], said["tax"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error).get("code", ""), ""
        except OSError as error:
            return 0, str(error), ""

    def take(self) -> Counter[tuple[int, str, str]]:
        """What was met since the last time."""
        with self.lock:
            met, self.met = self.met, Counter()
        return met

    def again(self) -> None:
        """From here on `since` counts what is asked from here on, and nothing that was under way."""
        with self.lock:
            self.mark += 1
            self.since = Counter()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


class Story:
    def __init__(self, server: Server, scratch: Path):
        self.server, self.scratch, self.app = server, scratch, scratch / "rollout"
        self.checks = Checks()
        self.clients: Clients | None = None
        self.all: Counter[tuple[int, str, str]] = Counter()

    def tell(self) -> None:
        self.server.start()
        shutil.copytree(APP, self.app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke"))
        print(self.server.command("deploy", str(self.app)))
        self.clients = Clients(self.server.data_url + "/price")
        self.met("clients to get an answer", lambda met: sum(met.values()) > 200)
        self.bad_canary()
        self.good_canary()
        self.bad_deployment()
        self.by_hand()
        self.clients.end()
        self.all += self.clients.take()
        self.whatever_happened()
        self.checks.equal("exit code of the server after SIGTERM", 0, self.server.stop())

    def close(self) -> None:
        if self.clients is not None:
            self.clients.end()
        self.server.stop()

    # ── the acts ──

    def bad_canary(self) -> None:
        print("A bad version for a tenth")
        self.release("price.js", "versions/price-bad.js")
        self.server.command("deploy", str(self.app), "--canary", "10%")
        self.until("it to go", lambda: self.state(2) == "withdrawn")
        met = self.met("everybody to have version 1", lambda met: met[(200, "one", "one")] > 200)
        failed = sum(count for (status, *_), count in met.items() if status != 200)
        reason = self.version(2)["withdrawn"]["reason"]
        self.checks.holds("it took itself back", self.version(2)["withdrawn"]["automatic"], reason)
        self.checks.holds(
            "what clients met of it", 0 < failed < 100, f"{failed} of {sum(met.values())} requests failed"
        )
        self.until("it to be told", lambda: self.told("evoke.canary.withdrawn"))
        self.checks.equal("version 1 is still current", "current", self.state(1))

    def good_canary(self) -> None:
        print("A good version for a tenth, then half, then all")
        for name in ("price.js", "tax.js"):
            text = (APP / name).read_text().replace("'one'", "'two'")
            (self.app / name).write_text(text)
        self.server.command("deploy", str(self.app), "--canary", "10%")
        # By chance alone a part is outside of these less than once in a million times.
        self.share("a tenth", 0.03, 0.19)
        self.server.command("canary", "set", "50%", app="rollout")
        self.share("half", 0.37, 0.63)
        self.server.command("canary", "promote", app="rollout")
        met = self.fresh()
        self.checks.equal("all", {(200, "two", "two")}, set(met))

    def bad_deployment(self) -> None:
        print("A bad version for everybody")
        self.release("price.js", "versions/price-bad.js")
        begin = time.monotonic()
        self.server.command("deploy", str(self.app))
        self.until("it to go", lambda: self.state(5) == "current")
        took = time.monotonic() - begin
        self.checks.equal("what came back", 3, self.version(5).get("back_to"))
        self.checks.holds("it went by itself", self.version(4)["withdrawn"]["automatic"], f"after {took:.1f} s")
        met = self.fresh()
        self.checks.equal("all have the good one", {(200, "two", "two")}, set(met))
        self.until("it to be told", lambda: self.told("evoke.app.rolled_back"))

    def by_hand(self) -> None:
        print("What ran at first")
        begin = time.monotonic()
        print(self.server.command("rollback", "--to", "1", app="rollout"))
        took = time.monotonic() - begin
        met = self.fresh()
        self.checks.equal("all have it", {(200, "one", "one")}, set(met))
        print(f"  it took {took * 1000:.0f} ms, of which most is the start of the command")
        print(self.server.command("versions", app="rollout"))

    def whatever_happened(self) -> None:
        codes = {code for status, code, _ in self.all if status != 200}
        total = sum(self.all.values())
        self.checks.equal("no request failed but by the bad version's own fault", {"function_error"}, codes)
        mixed = {met for met in self.all if met[0] == 200 and met[1] != met[2] and met[1] != "bad"}
        self.checks.equal(f"answers of two versions, of {total}", set(), mixed)

    # ── what they do ──

    def release(self, name: str, path: str) -> None:
        shutil.copyfile(APP / path, self.app / name)

    def share(self, what: str, least: float, most: float) -> None:
        met = self.fresh(400)
        part = met[(200, "two", "two")] / sum(met.values())
        self.checks.holds(f"it has {what}", least <= part <= most, f"{part:.1%} of {sum(met.values())}")

    def fresh(self, count: int = 100) -> Counter[tuple[int, str, str]]:
        """What clients meet who ask from now on."""
        self.clients.again()
        self.met("clients to go on", lambda _: self.clients.since.total() >= count)
        return +self.clients.since

    def met(self, what: str, enough) -> Counter[tuple[int, str, str]]:
        met: Counter[tuple[int, str, str]] = Counter()

        def reached() -> bool:
            met.update(self.clients.take())
            return enough(met)

        self.until(what, reached)
        self.all += met
        return met

    def version(self, number: int) -> dict:
        versions = self.server.get("/v1/apps/rollout/versions")["versions"]
        return next((one for one in versions if one["version"] == number), {})

    def state(self, number: int) -> str | None:
        return self.version(number).get("state")

    def told(self, ty: str) -> list[dict]:
        return self.server.pages("rollout", "events", type=ty)

    def until(self, what: str, reached) -> None:
        deadline = time.monotonic() + SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise ServerError(f"waited {SECONDS} s for {what}")
            time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="evoke-rollout-"))
    story = Story(Server(options.binary.resolve(), scratch / "data"), scratch)
    begin = time.monotonic()
    try:
        story.tell()
    except (ServerError, OSError) as error:
        story.checks.failed.append(str(error))
        print(f"{error}\n{story.server.last_words()}", file=sys.stderr)
    finally:
        story.close()
        shutil.rmtree(scratch, ignore_errors=True)
    checks = story.checks
    print(f"\nrollout: {checks.passed} checks passed, {len(checks.failed)} failed, in {time.monotonic() - begin:.0f} s")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
