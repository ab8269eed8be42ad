"""The demo's acts, in order. Each says what happens and checks what must be true after it."""

import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rig.checks import Checks
from rig.server import Server, ServerError
from workshop import DELIVERY, Repository, Tickets, secret

AWAIT_SECONDS = 120


class Story:
    def __init__(self, binary: Path, scratch: Path):
        self.app = scratch / "delivery"
        self.checks = Checks()
        # Its functions may connect to addresses of this machine, where their egress list says so: the ticket service is there.
        self.server = Server(binary, scratch / "data", ("--egress-allow", "127.0.0.0/8"))
        self.tickets = Tickets(scratch)
        self.repository = Repository(scratch)
        self.git_secret, self.ticket_secret = secret(scratch / "git.secret"), secret(scratch / "tickets.secret")
        self.begin = time.monotonic()

    def tell(self) -> None:
        self.everything_starts()
        self.a_push_becomes_a_ticket()
        self.the_server_is_killed_while_the_delivery_waits()
        self.a_failing_test_becomes_a_bug()
        self.a_finding_becomes_a_bug()
        self.each_ticket_decides_on_its_own_commit()
        code = self.server.stop()
        self.checks.equal("the server ends in order", 0, code)

    def close(self) -> None:
        """Ends every process that is left."""
        self.server.stop()
        self.tickets.stop()

    # ── the acts ──

    def everything_starts(self) -> None:
        self.headline("A repository, a ticket service, and Evoke")
        self.server.start()
        self.tickets.start(f"{self.server.data_url}/hooks/tickets", self.ticket_secret)
        self.repository.make(f"{self.server.data_url}/hooks/git", self.git_secret)
        self.say(f"evoke serve on {self.server.data_url}, tickets on {self.tickets.url}, {self.repository.bare.name}")
        # The example as it is, but for the port of our ticket service.
        shutil.copytree(DELIVERY, self.app, ignore=shutil.ignore_patterns("demo", "tickets", "hooks", "__pycache__"))
        manifest = self.app / "evoke.toml"
        manifest.write_text(manifest.read_text().replace("7100", self.tickets.port))
        for name, file in (("GIT_WEBHOOK", self.git_secret), ("TICKET_WEBHOOK", self.ticket_secret)):
            self.server.command("secrets", "set", name, app="delivery", given=file.read_text().strip())
        self.quote("evoke deploy", self.server.command("deploy", str(self.app)))

    def a_push_becomes_a_ticket(self) -> None:
        self.headline("git push")
        self.first = self.repository.push("Greets")
        self.ticket = self.until("a ticket asks for the release", lambda: self.release_ticket(self.first))
        self.say(f"ticket {self.ticket['number']}: {self.ticket['title']}")
        self.until("the delivery waits", lambda: len(self.waits()) == 1)
        self.quote("evoke waits ls", self.server.command("waits", "ls", app="delivery"))
        self.checks.equal("nothing is released before the ticket is closed", None, self.released())

    def the_server_is_killed_while_the_delivery_waits(self) -> None:
        self.headline("kill -9 while it waits; the ticket is closed before the server is back")
        left = self.server.kill()
        self.checks.equal("nothing of it is left running", [], left)
        self.tickets.close(self.ticket["number"], "approved")
        seconds = self.server.start()
        self.say(f"started again in {seconds:.2f} s")
        self.until("the release is deployed", lambda: self.released() == self.first)
        self.checks.holds("the site serves it", "Version 1" in (self.page() or ""), self.page())
        self.settle()
        self.checks.equal("it was deployed once", 1, len(self.runs("deploy")))
        self.checks.equal("the ticket was opened once", 1, len(self.tickets.all("release")))
        self.checks.equal("nothing waits any more", 0, len(self.waits()))
        run = self.runs("deploy")[0]["id"]
        self.quote(f"evoke runs get {run}", self.server.command("runs", "get", run, app="delivery"))

    def a_failing_test_becomes_a_bug(self) -> None:
        self.headline("A commit whose tests fail")
        commit = self.repository.push("Greets louder", code=('}!"', '}!!"'))
        bug = self.until("a bug is filed", lambda: self.bug(commit))
        self.say(f"bug {bug['number']}: {bug['title']}")
        self.checks.holds("it names the test", "test_greets_by_name" in bug["text"], bug["text"][-40:])
        self.checks.equal("nobody is asked to release it", None, self.release_ticket(commit))

    def a_finding_becomes_a_bug(self) -> None:
        self.headline("A commit that passes its tests and should not")
        commit = self.repository.push(
            "Greets dynamically",
            code=(
                "return f\"Hello, {name.strip() or 'stranger'}!!\"",
                'return "Hello, " + eval("name.strip() or \'stranger\'") + "!"',
            ),
        )
        bug = self.until("a bug is filed", lambda: self.bug(commit))
        self.checks.holds("it has file and line", "greeter.py:5: calls eval" in bug["text"], bug["text"])

    def each_ticket_decides_on_its_own_commit(self) -> None:
        self.headline("Two deliveries wait, each for its own ticket")
        mended = (
            'return "Hello, " + eval("name.strip() or \'stranger\'") + "!"',
            "return f\"Hello, {name.strip() or 'stranger'}!\"",
        )
        second = self.repository.push("Version 2", code=mended, page=("Version 1", "Version 2"))
        third = self.repository.push("Version 3", page=("Version 2", "Version 3"))
        tickets = {
            commit: self.until("a ticket asks for the release", lambda c=commit: self.release_ticket(c))
            for commit in (second, third)
        }
        self.until("both wait", lambda: len(self.waits()) == 2)
        self.tickets.close(tickets[third]["number"], "approved")
        self.until("the third is released", lambda: self.released() == third)
        self.checks.equal(
            "the second still waits", [tickets[second]["number"]], [wait["data"]["ticket"] for wait in self.waits()]
        )
        self.tickets.close(tickets[second]["number"], "rejected")
        self.until("the second is dropped", lambda: self.server.pages("delivery", "events", type="release.dropped"))
        self.settle()
        self.checks.equal(
            "the third is what the site serves", (third, True), (self.released(), "Version 3" in (self.page() or ""))
        )
        self.checks.equal("nothing was given up", [], self.server.pages("delivery", "dead-letters"))

    # ── what there is ──

    def release_ticket(self, commit: str) -> dict | None:
        return next((ticket for ticket in self.tickets.all("release") if commit[:7] in ticket["title"]), None)

    def bug(self, commit: str) -> dict | None:
        return next((ticket for ticket in self.tickets.all("bug") if commit[:7] in ticket["title"]), None)

    def waits(self) -> list[dict]:
        return self.server.get("/v1/apps/delivery/waits")["waits"]

    def runs(self, function: str) -> list[dict]:
        return self.server.pages("delivery", "runs", function=function)

    def released(self) -> str | None:
        """The commit that the site serves."""
        text = self.fetch("/greeter/release")
        return None if text is None else text.partition('"commit":"')[2].partition('"')[0]

    def page(self) -> str | None:
        return self.fetch("/greeter/index.html")

    def fetch(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(self.server.data_url + path, timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    # ── how it is told ──

    def until(self, what: str, found: Callable):
        """Waits for it and returns it."""
        begin = time.monotonic()
        while not (result := found()):
            if time.monotonic() - begin > AWAIT_SECONDS:
                raise ServerError(f"waited {AWAIT_SECONDS} s in vain: {what}")
            time.sleep(0.05)
        self.checks.holds(what, True, f"after {time.monotonic() - begin:.2f} s")
        return result

    def settle(self) -> None:
        """Waits until nothing is queued or running."""
        self.until(
            "everything has ended",
            lambda: not self.server.unsettled("delivery"),
        )

    def headline(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def say(self, text: str) -> None:
        print(f"  {time.monotonic() - self.begin:6.1f}s  {text}", flush=True)

    def quote(self, command: str, output: str) -> None:
        """A command and what it printed."""
        print(f"  $ {command}")
        for line in output.rstrip().splitlines():
            print(f"  {line}")
