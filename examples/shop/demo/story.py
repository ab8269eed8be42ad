"""The demo's acts, in order. Each says what happens and checks what must be true after it."""

import json
import shutil
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from customers import MOVED_HOUSE, Customers, orders, total
from rig.checks import Checks
from rig.mail_server import MailServer
from rig.server import Server, ServerError
from screen import Screen

SHOP = Path(__file__).resolve().parents[1]
ORDERING_SECONDS = 300
SETTLING_SECONDS = 180


class Story:
    def __init__(self, binary: Path, scratch: Path, count: int, clients: int, seed: int):
        self.count = count
        self.app = scratch / "shop"
        self.screen = Screen()
        self.checks = Checks()
        self.mail = MailServer(scratch / "Maildir")
        # Its functions may connect to addresses of this machine, where their egress list says so: the SMTP server is there.
        self.server = Server(binary, scratch / "data", ("--egress-allow", "127.0.0.0/8"))
        self.customers = Customers(orders(count, seed), clients, address=lambda: self.server.data_url)

    def tell(self) -> None:
        self.the_shop_opens()
        self.the_first_order()
        self.orders_through_a_power_cut()
        self.everything_is_there_once()
        self.one_order_in_full()
        self.a_dead_letter_is_rescued()
        self.somebody_signs_up()
        self.the_shop_closes()

    def close(self) -> None:
        """Ends every process and thread that is left."""
        self.customers.stop()
        self.server.stop()
        self.mail.stop()

    # ── the acts ──

    def the_shop_opens(self) -> None:
        self.screen.headline("The shop opens")
        self.mail.refused.add(MOVED_HOUSE)
        self.mail.start()
        self.screen.say(f"SMTP server on 127.0.0.1:{self.mail.port}; it refuses mail for {MOVED_HOUSE}")
        seconds = self.server.start()
        self.screen.say(f"evoke serve, pid {self.server.pid}, ready after {seconds:.2f} s on {self.server.data_url}")

        # The example as it is, but for the port of our mail server.
        shutil.copytree(SHOP, self.app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke"))
        manifest = self.app / "evoke.toml"
        manifest.write_text(manifest.read_text().replace("2525", str(self.mail.port)))
        self.screen.quote("evoke deploy", self.server.command("deploy", str(self.app)))

    def the_first_order(self) -> None:
        begin = time.monotonic()
        self.customers.send_first()
        answered = time.monotonic() - begin
        self.await_customers(lambda: self.mail.kept == 1)
        mailed = time.monotonic() - begin
        self.screen.say(
            f"the first order: answered after {answered:.2f} s, its e-mail came after {mailed:.2f} s, nothing ran before"
        )

    def orders_through_a_power_cut(self) -> None:
        customers = self.customers
        self.screen.headline(f"{customers.clients} clients send {self.count} orders, and the server dies in the middle")
        customers.start()
        # In the thick of it: some orders done, some e-mails out, others under way.
        some, most = self.count * 2 // 5, self.count * 4 // 5
        accepted = in_flight = mails = 0

        def in_the_thick_of_it() -> bool:
            nonlocal accepted, in_flight, mails
            accepted, in_flight, mails = len(customers.accepted), customers.in_flight, self.mail.kept
            return in_flight > 0 and accepted >= (some if mails > self.count // 10 else most)

        self.await_customers(in_the_thick_of_it)
        orphans = self.server.kill()
        self.screen.say(f"kill -9: {accepted} orders accepted, {in_flight} in flight, {mails} e-mails sent so far")
        seconds = self.server.start()
        self.screen.say(f"started again on the same data, pid {self.server.pid}, ready after {seconds:.2f} s")
        self.await_customers(lambda: customers.done)
        self.screen.say(f"every order is answered; clients had to repeat {customers.repeats} requests")
        self.await_settlement()

        self.checks.holds(
            "orders were in flight when it was killed", 0 < in_flight and accepted < self.count, in_flight
        )
        self.checks.equal("worker processes that outlived the server", 0, len(orphans))

    def everything_is_there_once(self) -> None:
        self.screen.headline("Is everything there, and once?")
        accepted = self.customers.accepted
        self.checks.equal("orders refused", {}, self.customers.refused, show="none")
        self.checks.equal("orders accepted", self.count, len(accepted))

        events = self.purchases()
        self.checks.equal("purchase_complete events, one for each order", order_counts(accepted), Counter(events.values()),
                          show=len(events))  # fmt: skip
        self.checks.equal("events delivered to notify (one mailbox refuses)", self.count - 1,
                          len(self.deliveries("notify")))  # fmt: skip
        self.checks.equal("events delivered to ledger", self.count, len(self.deliveries("ledger")))
        undelivered = {a.order["order_id"] for a in accepted.values() if a.order["email"] == MOVED_HOUSE}
        self.check_mail("e-mails in the Maildir, one for each of those orders", accepted.keys() - undelivered)
        self.screen.say(f"repeated deliveries that the mail store suppressed by Message-ID: {self.mail.suppressed}")

        ledger = self.get("/ledger")
        self.checks.equal("orders in the ledger", len(accepted), ledger["orders"])
        self.checks.equal("cents in the ledger, the sum of all orders", sum(total(a.order) for a in accepted.values()),
                          ledger["cents"])  # fmt: skip

    def one_order_in_full(self) -> None:
        self.screen.headline("One order, and everything it caused")
        accepted = [a for a in self.customers.accepted.values() if a.first and a.order["email"] != MOVED_HOUSE][-1]
        tree = self.server.command("runs", "get", accepted.run, app="shop")
        self.screen.quote(f"evoke runs get {accepted.run}", tree)
        for function in ("checkout", "notify", "ledger"):
            self.checks.holds(f"the tree shows {function}", function in tree, "yes" if function in tree else "no")

    def a_dead_letter_is_rescued(self) -> None:
        self.screen.headline("The order that could not be confirmed")
        letters = self.server.pages("shop", "dead-letters")
        self.screen.quote("evoke dlq ls", self.server.command("dlq", "ls", app="shop"))
        self.checks.equal("dead letters", 1, len(letters))
        reasons = " ".join(letter["reason"] for letter in letters)
        self.checks.holds("its reason names the SMTP server's answer", "550" in reasons, "550" in reasons and "550")

        self.mail.refused.clear()
        self.screen.say(f"{MOVED_HOUSE} has a mailbox now")
        self.screen.quote("evoke dlq redrive", self.server.command("dlq", "redrive", app="shop"))
        self.await_settlement()
        self.checks.equal("dead letters left", 0, len(self.server.pages("shop", "dead-letters")))
        self.check_mail("e-mails in the Maildir, one for each order", self.customers.accepted.keys())

    def somebody_signs_up(self) -> None:
        self.screen.headline("Two users sign up, one of them wants the newsletter")
        for user in ({"email": "ada@example.com", "newsletter": True}, {"email": "bob@example.com"}):
            self.server.command("send", "user_signed_up", "--data", json.dumps(user), app="shop")
        self.await_settlement()
        self.checks.equal("runs of welcome", 2, len(self.deliveries("welcome")))
        self.checks.equal("runs of newsletter", 1, len(self.deliveries("newsletter")))

    def the_shop_closes(self) -> None:
        self.screen.headline("The shop closes")
        self.checks.equal("exit code of the server after SIGTERM", 0, self.server.stop())

    # ── waiting ──

    def await_customers(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ORDERING_SECONDS
        while not self.customers.wait(condition, 0.05):
            if time.monotonic() > deadline:
                raise ServerError(f"{len(self.customers.accepted)} of {self.count} orders after {ORDERING_SECONDS} s")
            if self.customers.refused:
                raise ServerError(f"orders were refused: {self.customers.refused}")
            self.screen.progress(f"{len(self.customers.accepted)}/{self.count} orders, {self.mail.kept} e-mails")

    def await_settlement(self) -> None:
        """Until nothing waits and nothing runs."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while True:
            unsettled = self.server.unsettled("shop")
            if not unsettled:
                return
            states = Counter(run["state"] for run in unsettled)
            queued, running = states["queued"], states["running"]
            if time.monotonic() > deadline:
                stuck = self.server.command("runs", "ls", app="shop")
                raise ServerError(f"{queued} queued and {running} running after {SETTLING_SECONDS} s:\n{stuck}")
            self.screen.progress(f"settling: {queued} queued, {running} running, {self.mail.kept} e-mails")
            time.sleep(0.2)

    # ── looking ──

    def purchases(self) -> dict[str, str]:
        """Event id → order id of every purchase_complete in the log."""
        stored = self.server.pages("shop", "events", type="purchase_complete")
        return {entry["event"]["id"]: entry["event"]["subject"].removeprefix("order-") for entry in stored}

    def deliveries(self, function: str) -> list[dict]:
        """Completed runs that an event started."""
        runs = self.server.pages("shop", "runs", function=function, state="completed")
        return [run for run in runs if run["trigger"]["kind"] == "event"]

    def check_mail(self, claim: str, expected: set[str]) -> None:
        """Each of these orders has one message in the Maildir, under the id of its event; there are no others."""
        events = self.purchases()
        found = {f"<{event}@shop.example>": order for event, order in events.items() if order in expected}
        messages = self.mail.messages()
        self.checks.equal(claim, Counter(found.items()), Counter(messages), show=len(messages))

    def get(self, path: str) -> dict:
        try:
            with urllib.request.urlopen(self.server.data_url + path, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ServerError(f"GET {path}: {error.code} {error.read().decode(errors='replace')}") from error


def order_counts(accepted) -> Counter:
    return Counter(accepted.keys())
