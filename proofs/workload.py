"""Clients that publish events and make calls, note what they sent and what they were told, and go on whatever happens.

Everything random comes from the seed: which events there are, and how the functions fail for them.
"""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from history import Answer, Sent
from rig.server import Server

ANSWER_SECONDS = 20
PAUSE_SECONDS = 0.02
TRIES = 400  # Of what is sent, where a client wants to know; each waits as long as the server is away.
FAILURES = ("raise", "raise", "crash", "garbage", "hang")


@dataclass(frozen=True)
class Mix:
    """What there is of each, of 1."""

    delayed: float = 0.1
    call: float = 0.15
    ordered: float = 0.15
    poison: float = 0.01  # Fails at each attempt.
    fails: float = 0.15  # An attempt fails.
    careless: float = 0.1  # The client gives up when it does not know.
    twice: float = 0.05  # The client sends it once more, although it was acknowledged.
    twice_source: str = "/clients"  # From there. Only controls say another.
    waits: bool = True  # What is delayed is sent with its time. Only controls leave that out.
    data_bytes: int = 0  # Beside what the functions need.
    pause: float = 0.0  # Seconds between two requests of a client.


class Workload:
    """`clients` threads on one server, which may die and come back meanwhile. `name` makes the ids unique."""

    def __init__(
        self, server: Server, name: str, seed: int, clients: int, mix: Mix, now: Callable[[], float] = time.time
    ):
        self.server = server
        self.name = name
        self.mix = mix
        self.now = now  # By the server's clock.
        self.sent: list[Sent] = []
        self.statuses: Counter[int] = Counter()
        self.reasons: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._token = server.token()
        self._threads = [
            threading.Thread(target=self._client, args=(number, random.Random(f"{seed}/{name}/{number}")), daemon=True)
            for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Sent]:
        """Lets each client finish what it is at. Returns all that was sent."""
        self._stop.set()
        for thread in self._threads:
            thread.join(4 * ANSWER_SECONDS)
            assert not thread.is_alive(), "a client does not come to an end"
        return self.sent

    def count(self, answer: Answer = Answer.ACKNOWLEDGED) -> int:
        with self._lock:
            return sum(sent.answer is answer for sent in self.sent)

    def _client(self, number: int, rng: random.Random) -> None:
        connections = Connections(self)
        for turn in itertools.count():
            if self._stop.is_set():
                connections.close()
                return
            self._send_one(
                connections, rng, f"{self.name}-{number}-{turn}", f"{self.name}-{number}-{rng.randrange(2)}", turn
            )
            self._stop.wait(self.mix.pause)

    def _send_one(self, connections: "Connections", rng: random.Random, id: str, key: str, turn: int) -> None:
        mix = self.mix
        kind = rng.random()
        data = {"fates": fates(rng, mix), "then": fates(rng, mix)}
        careful = rng.random() >= mix.careless
        if kind < mix.call:
            body = json.dumps({"id": id, "then": data["then"]})
            answer = self._tries(careful, lambda: connections.call(id, body))
            self._note(Sent(id, ("take", "second"), answer))
            return
        deliver_at = None
        ordered = kind < mix.call + mix.ordered
        if ordered:
            data |= {"key": key, "number": turn}
            careful = True  # Its successor must not overtake it.
        elif kind < mix.call + mix.ordered + mix.delayed:
            deliver_at = round(self.now() + rng.uniform(0.1, 2.0), 3)
        if mix.data_bytes:
            data["ballast"] = "x" * mix.data_bytes
        type = "step.ordered" if ordered else "step.first"
        told = deliver_at if mix.waits else None
        answer = self._tries(careful, lambda: connections.publish(type, id, data, told))
        if answer is Answer.ACKNOWLEDGED and deliver_at is None and rng.random() < mix.twice:
            connections.publish(type, id, data, None, mix.twice_source)
        steps = ("ordered",) if ordered else ("first", "second")
        self._note(Sent(id, steps, answer, key if ordered else None, turn, deliver_at))

    def _tries(self, careful: bool, send: Callable[[], Answer]) -> Answer:
        """Sends until it is acknowledged. The careless stop at the first answer they do not get."""
        unknown = False
        for _ in range(TRIES):
            answer = send()
            unknown |= answer is Answer.UNKNOWN
            if answer is Answer.ACKNOWLEDGED:
                return answer
            if self._stop.is_set() or (unknown and not careful):
                break
            time.sleep(PAUSE_SECONDS)
        return Answer.UNKNOWN if unknown else Answer.REFUSED

    def _note(self, sent: Sent) -> None:
        with self._lock:
            self.sent.append(sent)

    def note_status(self, status: int, body: bytes) -> None:
        with self._lock:
            self.statuses[status] += 1
            if status >= 400 and len(self.reasons) < 100:
                self.reasons.add(f"{status} {body[:300].decode(errors='replace')}")


class Connections:
    """Of one client: one to each listener, made again when they break."""

    def __init__(self, workload: Workload):
        self.workload = workload
        self.open: dict[str, http.client.HTTPConnection] = {}

    def close(self) -> None:
        for connection in self.open.values():
            connection.close()
        self.open.clear()

    def publish(self, type: str, id: str, data: dict, deliver_at: float | None, source: str = "/clients") -> Answer:
        headers = {
            "authorization": f"Bearer {self.workload._token}",
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-type": type,
            "ce-source": source,
            "ce-id": id,
        }
        path = "/v1/apps/proofs/events"
        if deliver_at is not None:
            path += "?deliver_at=" + datetime.fromtimestamp(deliver_at, UTC).isoformat().replace("+00:00", "Z")
        return self.request(self.workload.server.admin_url, path, headers, json.dumps(data))

    def call(self, id: str, body: str) -> Answer:
        headers = {"content-type": "application/json", "idempotency-key": id}
        return self.request(self.workload.server.data_url, "/take", headers, body)

    def request(self, url: str, path: str, headers: dict[str, str], body: str) -> Answer:
        address = urlsplit(url).netloc
        try:
            connection = self.open.get(address)
            if connection is None:
                connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
                connection.connect()
                self.open[address] = connection
        except OSError:
            return Answer.REFUSED  # Nothing was sent.
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self.open.pop(address).close()
            return Answer.UNKNOWN
        self.workload.note_status(answer.status, said)
        if answer.status < 300:
            return Answer.ACKNOWLEDGED
        return Answer.REFUSED if is_refusal(answer.status, answer.getheader("evoke-problem", "")) else Answer.UNKNOWN


def is_refusal(status: int, problem: str) -> bool:
    """Whether the answer says that nothing was done (docs/reference/http-errors.md)."""
    if problem == "key_in_use":
        return False
    return 400 <= status < 500 or problem in ("store_full", "store_unavailable", "store_closed", "draining")


def fates(rng: random.Random, mix: Mix) -> list[str]:
    """How an event's attempts end, the first ones each, and the last one and all after it."""
    if rng.random() < mix.poison:
        return ["raise"]
    found = []
    while rng.random() < mix.fails and len(found) < 3:
        found.append(rng.choice(FAILURES))
    return [*found, "ok"]
