"""What is around Evoke in this story: a bare repository with its hook, somebody who commits, and the ticket service."""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from rig.server import ServerError, dies_with_us

DELIVERY = Path(__file__).resolve().parents[1]


def secret(path: Path) -> Path:
    path.write_text(f"whsec_{base64.b64encode(os.urandom(24)).decode()}\n")
    return path


class Repository:
    """`greeter.git`, and a clone of it in which a developer works."""

    def __init__(self, folder: Path):
        self.bare = folder / "greeter.git"
        self.work = folder / "greeter"
        self.environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        for role in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.com"}

    def make(self, url: str, secret: Path) -> None:
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        shutil.copy(DELIVERY / "hooks" / "post-receive", self.bare / "hooks")
        self.git("-C", str(self.bare), "config", "evoke.url", url)
        self.git("-C", str(self.bare), "config", "evoke.secret", str(secret))
        self.git("clone", "--quiet", str(self.bare), str(self.work))
        shutil.copytree(DELIVERY / "demo" / "project", self.work, dirs_exist_ok=True)

    def push(self, title: str, **changes: tuple[str, str]) -> str:
        """Commits, with a text of a file replaced by another where that is asked for, and pushes. Returns the commit."""
        for name, (old, new) in changes.items():
            path = self.work / FILES[name]
            text = path.read_text()
            assert old in text, f"{path} has no {old!r}"
            path.write_text(text.replace(old, new))
        self.git("-C", str(self.work), "add", "--all")
        self.git("-C", str(self.work), "commit", "--quiet", "--message", title)
        self.git("-C", str(self.work), "push", "--quiet", "origin", "HEAD:main")
        return self.git("-C", str(self.work), "rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"git {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        for line in done.stderr.splitlines():
            print(f"  {line}", flush=True)
        return done.stdout


FILES = {"page": "site/index.html", "code": "greeter.py"}


class Tickets:
    """The ticket service, a process of its own."""

    def __init__(self, folder: Path):
        self.database = folder / "tickets.db"
        self.url = ""
        self.process: subprocess.Popen | None = None

    def start(self, webhook: str, secret: Path, port: int = 0) -> None:
        arguments = [
            "--port",
            str(port),
            "--database",
            str(self.database),
            "--webhook",
            webhook,
            "--secret",
            str(secret),
        ]
        self.process = subprocess.Popen(
            [*dies_with_us(), sys.executable, str(DELIVERY / "tickets"), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        ready = self.process.stdout.readline()
        if "ready on" not in ready:
            raise ServerError(f"the ticket service did not start: {ready!r}")
        self.url = ready.split()[-1]

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def all(self, kind: str) -> list[dict]:
        return [ticket for ticket in self.ask("/tickets")["tickets"] if ticket["kind"] == kind]

    def close(self, number: int, resolution: str) -> None:
        self.ask(f"/tickets/{number}/close", {"resolution": resolution})

    def ask(self, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=10) as answer:
            return json.load(answer)
