"""The shop's customers: a fixed list of orders, and clients that send each until it is accepted."""

import http.client
import json
import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ANSWER_SECONDS = 30
PAUSE_SECONDS = 0.05


def orders(count: int, seed: int) -> list[dict]:
    """The same seed gives the same orders. The middle one is to a mailbox that does not exist yet."""
    rng = random.Random(seed)
    skus = ["mug", "shirt", "poster", "sticker", "cap"]
    made = []
    for number in range(count):
        items = [
            {"sku": sku, "qty": rng.randint(1, 5), "price": rng.randrange(100, 10_000, 5)}
            for sku in rng.sample(skus, rng.randint(1, 3))
        ]
        email = MOVED_HOUSE if number == count // 2 else f"customer{number}@example.com"
        made.append({"order_id": f"A-{1001 + number}", "email": email, "items": items})
    return made


MOVED_HOUSE = "moved.house@example.com"


def total(order: dict) -> int:
    """In cents."""
    return sum(item["qty"] * item["price"] for item in order["items"])


@dataclass
class Accepted:
    """What a customer holds in hand: the answer to an order."""

    order: dict
    run: str  # The run that answered.
    first: bool  # That run is the one that took it, not a later look at it.


@dataclass
class Customers:
    """Clients that work off a list of orders, each one order at a time.

    An order is *accepted* once its client has read a whole 2xx answer. A client that is refused a connection, loses it,
    or gets 429 or 5xx sends the same order again with the same Idempotency-Key: it cannot know whether the server took it.
    """

    orders: list[dict]
    clients: int
    address: Callable[[], str]  # Where the server is now.

    accepted: dict[str, Accepted] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    in_flight: int = 0
    repeats: int = 0

    def __post_init__(self):
        self._waiting: queue.SimpleQueue[dict] = queue.SimpleQueue()
        for order in self.orders:
            self._waiting.put(order)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self.clients)]

    def send_first(self) -> None:
        """Sends the first order alone, and returns when it is settled."""
        self._send(None, self._waiting.get_nowait())

    def start(self) -> None:
        """Starts all clients on what is left."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets each client finish the request it is at, at most."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(ANSWER_SECONDS)

    @property
    def done(self) -> bool:
        return len(self.accepted) + len(self.refused) == len(self.orders)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits until `condition` holds; looks after each change."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def _client(self) -> None:
        connection = None
        while not self._stop.is_set():
            try:
                connection = self._send(connection, self._waiting.get_nowait())
            except queue.Empty:
                return

    def _send(self, connection, order: dict):
        """Sends an order until it is settled. Returns the connection, if it can be used again."""
        while not self._stop.is_set():
            connection, settled = self._attempt(connection, order)
            if settled:
                break
            self._stop.wait(PAUSE_SECONDS)
        return connection

    def _attempt(self, connection, order: dict):
        """Sends an order once. Returns the connection, if it can be used again, and whether the order is settled."""
        self._note(in_flight=1)
        try:
            if connection is None:
                connection = http.client.HTTPConnection(urlsplit(self.address()).netloc, timeout=ANSWER_SECONDS)
            connection.request("POST", "/orders", json.dumps(order), headers_of(order))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            if connection is not None:
                connection.close()
            self._note(in_flight=-1, repeats=1)
            return None, False
        settled = True
        with self._changed:
            if answer.status in (200, 201):
                self.accepted[order["order_id"]] = Accepted(
                    order, run=answer.getheader("evoke-run", ""), first=answer.status == 201
                )
            elif answer.status == 429 or answer.status >= 500 or answer.getheader("evoke-problem") == "key_in_use":
                self.repeats += 1
                settled = False
            else:
                self.refused[order["order_id"]] = f"{answer.status} {body.decode(errors='replace')}"
        self._note(in_flight=-1)
        return connection, settled

    def _note(self, in_flight: int = 0, repeats: int = 0) -> None:
        with self._changed:
            self.in_flight += in_flight
            self.repeats += repeats
            self._changed.notify_all()


def headers_of(order: dict) -> dict[str, str]:
    return {"content-type": "application/json", "idempotency-key": order["order_id"]}
