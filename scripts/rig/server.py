"""One `evoke serve` process: started, asked, killed or stopped, and nothing of it left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from .processes import descendants, gone

START_SECONDS = 120
STOP_SECONDS = 60
COMMAND_SECONDS = 600  # To deploy a crate is to have it compiled.


class ServerError(Exception):
    """The server, or a command against it, did not do what it should. The message has its last words."""


class Server:
    """`evoke serve` on a data directory. The system chooses the ports; a further start keeps them.

    Output goes to `<data>.log`, which grows over restarts.
    """

    def __init__(
        self,
        binary: Path,
        data: Path,
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
    ):
        self.binary = binary
        self.options = options
        self.environment = environment or {}  # Of the server alone, beside our own.
        self.wrapper = wrapper  # A command that becomes the server: it gets the server's command line after its own.
        self.data = data
        self.log = data.with_name(data.name + ".log")
        self.process: subprocess.Popen | None = None
        self.data_url = ""
        self.admin_url = ""

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server was not started"
        return self.process.pid

    def start(self) -> float:
        """Starts it and waits until it says that both listeners are ready. Returns the seconds that took."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        begin = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *dies_with_us(),
                    *self.wrapper,
                    "env",
                    *(f"{name}={value}" for name, value in self.environment.items()),
                ]
                + [str(self.binary), "serve", "--data", str(self.data)]
                + ["--listen", address(self.data_url), "--admin", address(self.admin_url), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we decide how the server ends.
                env={**os.environ, "NO_COLOR": "1"},
            )
        while True:
            said = self.log.read_bytes()[offset:].decode(errors="replace")
            listeners = dict(re.findall(LISTENER, said))
            if len(listeners) == 2:
                self.data_url, self.admin_url = listeners["data"], listeners["admin"]
                return time.monotonic() - begin
            if self.process.poll() is not None:
                raise ServerError(f"evoke serve ended with {self.process.returncode}:\n{said[-2000:]}")
            if time.monotonic() - begin > START_SECONDS:
                raise ServerError(f"evoke serve was not ready after {START_SECONDS} s:\n{said[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> list[int]:
        """`kill -9`. Returns the workers that were still there five seconds later; there should be none."""
        workers = descendants(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        return [pid for pid in workers if not gone(pid, within=5)]

    def stop(self) -> int | None:
        """Ends it in order, by force after half a minute. Returns its exit code, `None` when it was not running."""
        if self.process is None or self.process.poll() is not None:
            return None
        workers = descendants(self.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for pid in workers:
            if not gone(pid, within=5):
                os.kill(pid, signal.SIGKILL)
        self.process = None
        return code

    def command(self, *arguments: str, app: str | None = None, given: str = "") -> str:
        """Runs `evoke ARGUMENTS` against this server, with `given` to read. Returns what a person at a terminal would read."""
        environment = {**os.environ, "NO_COLOR": "1", "EVOKE_ADMIN": self.admin_url, "EVOKE_TOKEN": self.token()}
        done = subprocess.run(
            [str(self.binary), *arguments, *(["--app", app] if app else [])],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise ServerError(f"evoke {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-2000:]}")
        return done.stdout

    def get(self, path: str, **query: str | int) -> dict:
        """Asks the control API."""
        url = f"{self.admin_url}{path}?{urlencode(query)}"
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {self.token()}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ServerError(f"GET {url}: {error.code} {error.read().decode(errors='replace')}") from error

    def pages(self, app: str, collection: str, **query: str | int) -> list[dict]:
        """All entries of `runs`, `events` or `dead-letters`, newest first."""
        found: list[dict] = []
        while True:
            page = self.get(f"/v1/apps/{app}/{collection}", limit=1000, **query)
            found += page[collection.replace("-", "_")]
            if "next" not in page:
                return found
            query["before"] = page["next"]

    def unsettled(self, app: str) -> list[dict]:
        """Runs that wait or run. None only when nothing more comes of anything.

        A list takes a while: what ends meanwhile may have caused something that was not there yet when its page was read. So it
        takes two lists of the same length, for between those nothing has begun.
        """
        count = None
        while True:
            runs = self.pages(app, "runs")
            found = [run for run in runs if run["state"] in ("queued", "running")]
            if found or len(runs) == count:
                return found
            count = len(runs)

    def token(self) -> str:
        return self.seen(self.data / "admin.token").read_text().strip()

    def seen(self, path: Path) -> Path:
        """A path of the server's as we reach it: a wrapper may have given it file systems of its own."""
        return Path(f"/proc/{self.pid}/root{path}") if self.wrapper else path

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


# The two lines `evoke serve` writes when it is ready.
LISTENER = re.compile(r"^evoke: (data|admin) listener ready on (\S+)$", re.MULTILINE)


def address(url: str) -> str:
    return urlsplit(url).netloc or "127.0.0.1:0"


def dies_with_us() -> list[str]:
    """A prefix for a command, so that even `kill -9` of us ends it too."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
