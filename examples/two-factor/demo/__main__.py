"""A login with a second factor, and all that can go wrong: the gateway fails, codes are guessed, raced for, and too late.

Ends with 0 only if every check held. Leaves nothing behind.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP = HERE.parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
sys.dont_write_bytecode = True

from rig.checks import Checks
from rig.server import Server, ServerError, dies_with_us

SECONDS = 60
CODE_SECONDS = 300
SHORT_SECONDS = 15  # Enough for the SMS also where much else goes on.
ADA = {"user": "ada", "password": "correct horse"}


class Story:
    def __init__(self, server: Server, scratch: Path):
        self.server, self.scratch = server, scratch
        self.checks = Checks()
        self.services: list[subprocess.Popen] = []
        self.seen = 0  # Messages that were looked at.

    def tell(self) -> None:
        self.everything_starts()
        self.a_login()
        self.the_gateway_fails()
        self.guesses()
        self.two_at_once()
        self.too_late()
        self.nothing_tells_the_code()
        self.checks.equal("exit code of the server after SIGTERM", 0, self.server.stop())

    def close(self) -> None:
        for service in self.services:
            service.kill()
            service.wait()
        self.server.stop()

    # ── the acts ──

    def everything_starts(self) -> None:
        self.server.start()
        self.gateway = self.service("gateway.py")
        app = self.scratch / "two-factor"
        shutil.copytree(APP, app, ignore=shutil.ignore_patterns("demo", "__pycache__", ".evoke"))
        manifest = app / "evoke.toml"
        manifest.write_text(manifest.read_text().replace("127.0.0.1:2580", self.gateway.removeprefix("http://")))
        self.keys = {name: secrets.token_hex(32) for name in ("CODE_KEY", "LOGIN_KEY")}
        for name, value in self.keys.items():
            file = self.scratch / name
            file.write_text(value)
            self.server.command("secrets", "set", name, "--from", str(file), app="two-factor")
        print(self.server.command("deploy", str(app)))
        self.login = self.login_service(CODE_SECONDS)
        self.short = self.login_service(SHORT_SECONDS)

    def a_login(self) -> None:
        print("A login")
        self.checks.equal("a wrong password", 401, post(f"{self.login}/login", {**ADA, "password": "x"})[0])
        self.checks.equal("nobody", 401, post(f"{self.login}/login", {"user": "x", "password": "x"})[0])
        stranger = {"id": "x", "user": "ada", "phone": "+1", "expires": time.time() + 60}
        self.checks.equal("somebody else asks for a code", 401, post(f"{self.server.data_url}/challenges", stranger)[0])
        challenge = self.log_in()
        self.checks.holds("it says until when", 0 < challenge["expires"] - time.time() <= CODE_SECONDS, "300 s")
        code = self.code()
        status, answer = self.enter(challenge, code)
        self.checks.equal("the right code", (200, "ada"), (status, answer.get("user")))
        self.checks.equal("the same code again", 410, self.enter(challenge, code)[0])

    def the_gateway_fails(self) -> None:
        print("The gateway answers with 500")
        post(f"{self.gateway}/outage", {"status": 500})
        begin = time.monotonic()
        challenge = self.log_in()
        self.checks.holds("the login service does not wait", time.monotonic() - begin < 25, "answered")
        self.until("two refusals", lambda: get(f"{self.gateway}/messages")["refused"] >= 2)
        self.checks.equal("no code is good until one was sent", 410, self.enter(challenge, "000000")[0])
        post(f"{self.gateway}/outage", {"status": 0})
        self.checks.equal("the code comes when it is back", 200, self.enter(challenge, self.code())[0])
        failed = next(
            run for run in self.server.pages("two-factor", "runs", function="challenge") if len(run["attempts"]) > 1
        )
        print(self.server.command("runs", "get", failed["id"], app="two-factor"))

    def guesses(self) -> None:
        print("Somebody guesses")
        challenge = self.log_in()
        code = self.code()
        wrong = [f"{(int(code) + at) % 1_000_000:06}" for at in range(1, 6)]
        left = [self.enter(challenge, guess)[1].get("attempts_left") for guess in wrong]
        self.checks.equal("attempts left after each wrong code", [4, 3, 2, 1, 0], left)
        self.checks.equal("the right one comes too late", 410, self.enter(challenge, code)[0])

    def two_at_once(self) -> None:
        print("Eight requests at once with the right code")
        challenge = self.log_in()
        code = self.code()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.enter(challenge, code)[0], range(8)))
        expected = [200] + 7 * [410]
        self.checks.equal("answers", expected, sorted(answers), show="one session, and for the others a used code")

    def too_late(self) -> None:
        print(f"A code for {SHORT_SECONDS} seconds")
        challenge = self.log_in(self.short)
        code = self.code()
        time.sleep(max(0, challenge["expires"] - time.time()) + 0.1)
        self.checks.equal("after its time", 410, self.enter(challenge, code)[0])

    def nothing_tells_the_code(self) -> None:
        texts = [message["text"] for message in get(f"{self.gateway}/messages")["messages"]]
        logs = self.server.command("logs", "challenge", app="two-factor")
        told = [text for text in texts if re.search(rf"\b{text[-7:-1]}\b", logs)]
        self.checks.equal("codes in the logs", [], told, show="none")

    # ── what they do ──

    def log_in(self, at: str | None = None) -> dict:
        status, answer = post(f"{at or self.login}/login", ADA)
        if status != 202:
            raise ServerError(f"login: {status} {answer}")
        return answer

    def code(self) -> str:
        """That of the next message."""
        self.until("an SMS", lambda: len(self.messages()) > self.seen)
        self.seen += 1
        code = self.messages()[self.seen - 1]["text"][-7:-1]
        # The gateway has it a moment before the attempt is over, and with it the state.
        self.until("the end of the attempt", lambda: {run["state"] for run in self.challenges()} == {"completed"})
        return code

    def challenges(self) -> list[dict]:
        return self.server.pages("two-factor", "runs", function="challenge")

    def messages(self) -> list[dict]:
        return get(f"{self.gateway}/messages")["messages"]

    def enter(self, challenge: dict, code: str) -> tuple[int, dict]:
        return post(f"{self.login}/login/code", {"id": challenge["id"], "code": code})

    def login_service(self, code_seconds: int) -> str:
        return self.service(
            "login.py",
            EVOKE_URL=self.server.data_url,
            LOGIN_KEY=self.keys["LOGIN_KEY"],
            CODE_SECONDS=str(code_seconds),
        )

    def service(self, source: str, **variables: str) -> str:
        """Starts a service of the example on a free port. Returns its address."""
        process = subprocess.Popen(
            [*dies_with_us(), sys.executable, str(APP / source)],
            env={**os.environ, "PORT": "0", **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.services.append(process)
        return re.search(r"http://\S+", process.stdout.readline())[0]

    def until(self, what: str, holds) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{what}: not within {SECONDS} s\n{self.server.command('runs', 'ls', app='two-factor')}"
                )
            time.sleep(0.05)


def post(url: str, body: dict) -> tuple[int, dict]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    scratch = Path(tempfile.mkdtemp(prefix="evoke-two-factor-"))
    server = Server(parser.parse_args().binary.resolve(), scratch / "data", ("--egress-allow", "127.0.0.0/8"))
    story, begin = Story(server, scratch), time.monotonic()
    try:
        story.tell()
    except ServerError as error:
        print(f"\n{error}\n\nthe server's last words:\n{server.last_words()}", file=sys.stderr)
        return 1
    finally:
        story.close()
        shutil.rmtree(scratch, ignore_errors=True)
    passed, failed = story.checks.passed, len(story.checks.failed)
    print(f"\ntwo-factor: {passed} checks passed, {failed} failed, in {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
