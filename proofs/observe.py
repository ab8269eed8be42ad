"""What came of it all: read from a server that has nothing left to do."""

import http.client
import json
import time
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from history import History, Sent
from rig.server import Server

APP = "proofs"
DRAIN_SECONDS = 120
COUNT_SECONDS = 2


class NotDrained(Exception):
    """Something still waits. The message says what."""


def drain(server: Server, seconds: float = DRAIN_SECONDS, delayed: bool = True) -> float:
    """Waits until nothing waits and nothing runs; `delayed` events count too. Returns the seconds that took. However much
    there is: what fails is that it does not become less for so many seconds."""
    begin = last = time.monotonic()
    counted, least, quiet = 0.0, None, 0
    # Twice, since an invocation goes to and fro between queued and running.
    while quiet < 2:
        left = [one for one in waiting(server) if delayed or "function" in one]
        quiet = 0 if left else quiet + 1
        now = time.monotonic()
        if now - counted > COUNT_SECONDS:
            counted, count = now, backlog(server)
            if least is None or count < least:
                last, least = now, count
        if left and now - last > seconds:
            raise NotDrained(f"for {seconds:.0f} s there are {least} deliveries, of them: {json.dumps(left)[:1500]}")
        time.sleep(0.05)
    return time.monotonic() - begin


def backlog(server: Server) -> int:
    """Deliveries that are not done."""
    subscriptions = server.get(f"/v1/apps/{APP}/subscriptions")["subscriptions"]
    return sum(one["waiting"] + one["leased"] for one in subscriptions if one["function"] != "clock")


def waiting(server: Server) -> list[dict]:
    """Something of what is not done."""
    found = server.get(f"/v1/apps/{APP}/delayed-events")["events"]
    for state in ("queued", "running"):
        found += server.get(f"/v1/apps/{APP}/runs", state=state, limit=3)["runs"]
    return [run for run in found if run.get("function") != "clock"]


def observe(server: Server, sent: list[Sent]) -> History:
    """The history of `sent`, from the ledger, the dead letters and the runs."""
    history = History(sent=list(sent))
    for key, times in ledger(server, "effect/"):
        _, function, id = key.split("/", 2)
        if function != "clock":
            history.effects[function, id] = times
    history.orders = {key.removeprefix("order/"): numbers for key, numbers in ledger(server, "order/")}
    for letter in server.pages(APP, "dead-letters"):
        if letter["run"]["trigger"]["kind"] == "event":
            history.letters.add((letter["run"]["function"], letter["run"]["trigger"]["id"]))
    delayed = {event.id for event in sent if event.deliver_at is not None}
    if delayed:
        for run in server.pages(APP, "runs", function="first"):
            id = run["trigger"].get("id")
            if id in delayed:
                at = datetime.fromisoformat(run["created_at"]).timestamp()
                history.delivered[id] = min(at, history.delivered.get(id, at))
    return history


def ticks(server: Server) -> int:
    """How often the schedule took effect."""
    return len(ledger(server, "effect/clock/"))


def ledger(server: Server, prefix: str) -> list[tuple]:
    """All entries of the app's state with that prefix, asked of a function of it."""
    found: list = []
    connection = http.client.HTTPConnection(urlsplit(server.data_url).netloc, timeout=60)
    while True:
        query = {"prefix": prefix} | ({"after": found[-1][0]} if found else {})
        connection.request("GET", f"/look?{urlencode(query)}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET /look: {answer.status} {body.decode(errors='replace')}")
        page = json.loads(body)["entries"]
        found += page
        if len(page) < 1000:
            connection.close()
            return found
