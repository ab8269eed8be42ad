"""Three people sign up while the mail server is down. It comes back, and each gets the mails that concern them, once. Then two
ask for all that is known of them, and do not wait for it; one of them is nobody.

Ends with 0 only if every check held. Leaves nothing behind. Needs aiosmtpd (scripts/requirements.txt).
"""

import argparse
import contextlib
import json
import random
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
sys.dont_write_bytecode = True

from rig.checks import Checks
from rig.mail_server import MailServer
from rig.server import Server, ServerError

SECONDS = 60
PEOPLE = [
    {"email": "ada@example.com"},
    {"email": "bob@example.com", "wants": ["newsletter", "updates"]},
    {"email": "eve@example.com", "wants": ["updates"], "invited_by": "bob@example.com"},
]
MAILS = {
    ("ada@example.com", "Welcome"), ("bob@example.com", "Welcome"), ("eve@example.com", "Welcome"),
    ("bob@example.com", "Our newsletter"), ("bob@example.com", "Product updates"),
    ("eve@example.com", "Product updates"), ("bob@example.com", "Thank you"),
}  # fmt: skip


def tell(server: Server, mail: MailServer, scratch: Path, checks: Checks) -> None:
    port = free_port()
    server.start()
    app = scratch / "signup"
    shutil.copytree(HERE.parent, app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke"))
    manifest = app / "evoke.toml"
    manifest.write_text(manifest.read_text().replace("2525", str(port)))
    print(server.command("deploy", str(app)))

    print("The mail server is down, and three people sign up")
    runs = [sign_up(server, person)[1] for person in PEOPLE]
    tried = await_runs(server, lambda runs: attempts(runs, "welcome") >= 3, "an attempt at each welcome mail")
    reasons = {attempt["message"] for run in tried for attempt in run["attempts"] if "message" in attempt}
    checks.holds("their welcome mails wait, with the reason", len(reasons) > 0, *sorted(reasons)[:1])
    checks.equal("somebody who signs up again is told so", 409, sign_up(server, PEOPLE[0])[0])
    checks.equal("what is no address is refused", 400, sign_up(server, {"email": "nobody"})[0])

    print("The mail server is back")
    mail.start(port)
    await_runs(server, lambda runs: all(run["state"] == "completed" for run in runs), "the mails")
    found = Counter((message["To"], message["Subject"]) for message in mail.maildir)
    checks.equal("each mail that concerns somebody, once", Counter(MAILS), found, show=sum(found.values()))
    steps = Counter(run["function"] for run in server.pages("signup", "runs") if run["trigger"]["kind"] == "event")
    checks.equal("steps that ran", Counter(welcome=3, newsletter=1, updates=2, thank=1), steps, show=dict(steps))

    print("Two want to have all that is known of them, and do not wait for it")
    ada, nobody = (export(server, email, "respond-async") for email in ("ada@example.com", "nobody@example.com"))
    checks.equal("both are accepted", (202, 202), (ada[0], nobody[0]))
    await_runs(server, lambda runs: done(runs, "ready") and done(runs, "apologise"), "the mails that tell how it ended")
    told = {message["To"]: message for message in mail.maildir if message["Subject"] in ("Your data", "No data")}
    checks.equal(
        "each is told once", 2, sum(message["Subject"] in ("Your data", "No data") for message in mail.maildir)
    )
    checks.equal("ada gets what there is", "Your data", told["ada@example.com"]["Subject"])
    reason = told["nobody@example.com"].get_payload().strip()
    checks.holds("the other one the reason", "has not signed up" in reason, reason)
    waited = export(server, "bob@example.com", "respond-async, wait=30")
    checks.equal("who waits a while gets it at once", (200, "bob@example.com"), (waited[0], waited[1].get("email")))

    print("What one sign-up caused")
    tree = server.command("runs", "get", runs[2], app="signup")
    print(tree)
    for step, there in {"welcome": True, "updates": True, "thank": True, "newsletter": False}.items():
        claim = f"its tree shows {step}" if there else f"its tree has no run of {step}"
        checks.equal(claim, there, step in runs_of(server, runs[2]))
    checks.equal("exit code of the server after SIGTERM", 0, server.stop())


def sign_up(server: Server, person: dict) -> tuple[int, str]:
    """The status, and the run."""
    request = urllib.request.Request(server.data_url + "/signups", json.dumps(person).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["evoke-run"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["evoke-run"]


def export(server: Server, email: str, prefer: str) -> tuple[int, dict]:
    """The status, and what was answered."""
    headers = {"content-type": "application/json", "prefer": prefer}
    request = urllib.request.Request(server.data_url + "/exports", json.dumps({"email": email}).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.load(answer)


def done(runs: list[dict], function: str) -> bool:
    """Whether a run of the function was completed."""
    return any(run["function"] == function and run["state"] == "completed" for run in runs)


def await_runs(server: Server, condition, what: str) -> list[dict]:
    """All runs, once they are as they should be."""
    deadline = time.monotonic() + SECONDS
    while not condition(runs := server.pages("signup", "runs")):
        if time.monotonic() > deadline:
            raise ServerError(f"{what}: not within {SECONDS} s\n{server.command('runs', 'ls', app='signup')}")
        time.sleep(0.1)
    return runs


def attempts(runs: list[dict], function: str) -> int:
    """How many runs of the function have been tried."""
    return sum(bool(run["attempts"]) for run in runs if run["function"] == function)


def runs_of(server: Server, run: str) -> set[str]:
    """The functions that ran because of it."""
    return {other["function"] for other in server.pages("signup", "runs") if other["root"] == run}


def free_port() -> int:
    """A port that stays free while nobody listens there: not one of those that connections get by themselves."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first // 2, first)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    scratch = Path(tempfile.mkdtemp(prefix="evoke-signup-"))
    server = Server(parser.parse_args().binary.resolve(), scratch / "data", ("--egress-allow", "127.0.0.0/8"))
    mail, checks, begin = MailServer(scratch / "Maildir"), Checks(), time.monotonic()
    try:
        tell(server, mail, scratch, checks)
    except ServerError as error:
        print(f"\n{error}\n\nthe server's last words:\n{server.last_words()}", file=sys.stderr)
        return 1
    finally:
        server.stop()
        mail.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\nsignup: {checks.passed} checks passed, {len(checks.failed)} failed, in {time.monotonic() - begin:.0f} s")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
