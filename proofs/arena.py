"""A server on a fresh directory with the app of the proofs on it, and what each mode does in the end: drain, observe, check."""

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Self

from checker import Anomaly, check
from history import Answer, Sent
from observe import NotDrained, drain, observe
from rig.server import Server, ServerError

APP = Path(__file__).resolve().parent / "app"
NATIVE = Path(__file__).resolve().parent / "native"


class Broken(Exception):
    """A promise did not hold. The message says which."""


class Arena:
    """Use as a context; nothing is left of it, unless it broke: then its directory stays, and is named."""

    def __init__(self, binary: Path, mode: str, seed: int, environment: dict[str, str] | None = None):
        self.mode = mode
        self.seed = seed
        self.scratch = Path(tempfile.mkdtemp(prefix=f"evoke-proofs-{mode}-"))
        self.server = Server(binary, self.scratch / "data", environment=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None and self.server.process is not None and self.server.process.poll() is None:
            self.server.kill()
        self.server.stop()
        if isinstance(error, Broken | NotDrained | ServerError):
            error.add_note(f"mode {self.mode}, seed {self.seed}; its directory was kept: {self.scratch}")
        else:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def deploy(self, app: Path = APP) -> None:
        self.server.command("deploy", str(app))

    def judge(self, sent: list[Sent]) -> list[Anomaly]:
        """Waits until nothing is left to do, and checks the history."""
        drain(self.server)
        return check(observe(self.server, sent))

    def must_hold(self, sent: list[Sent]) -> None:
        anomalies = self.judge(sent)
        if anomalies:
            raise Broken(f"{len(anomalies)} anomalies: " + "; ".join(map(str, anomalies[:10])))


class Figures(Counter):
    """What a mode counted, as it is printed: `kills 5, acknowledged 812, …`."""

    def of(self, sent: list[Sent]) -> "Figures":
        self.update({answer.value: sum(one.answer is answer for one in sent) for answer in Answer})
        return self

    def __str__(self) -> str:
        return ", ".join(f"{name} {count:g}" for name, count in self.items())


def until(condition, seconds: float, what: str) -> float:
    """Waits for `condition`; how long that took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise Broken(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - begin
