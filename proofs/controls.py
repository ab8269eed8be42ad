"""Controls: each promise once with what protects it taken away. The checker must find it broken, or it proves nothing.

The control of durability, syncs that do nothing, is with the power cuts (power.py).
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import storm
from arena import APP, Arena, Broken, Figures, until
from history import Answer
from workload import Mix, Workload

CONTROLS = Path(__file__).resolve().parent / "controls"
CLIENTS = 6
SECONDS = 120
RUBBISH = Mix(fails=0.6, poison=0.1, call=0.0, delayed=0.0, ordered=0.0)


@dataclass(frozen=True)
class Control:
    """Without `protection` there must be an anomaly of this kind."""

    kind: str
    protection: str
    mix: Mix
    change: Callable[[Path], None] = lambda app: None  # Of a copy of the app.


def without_order(app: Path) -> None:
    replace(app / "evoke.toml", 'order = "data.key"\n', "")


def with_first(name: str) -> Callable[[Path], None]:
    """Another `first`, and what it may call."""

    def change(app: Path) -> None:
        shutil.copy(CONTROLS / name / "first.py", app / "first.py")
        shutil.copy(CONTROLS / "beside.py", app / "beside.py")
        with (app / "evoke.toml").open("a") as manifest:
            manifest.write('\n[functions.beside]\nsource = "beside.py"\nconcurrency = 4\nemits = ["step.second"]\n')

    return change


ALL = (
    Control("disorder", "order by key", Mix(fails=0.4, call=0.0, delayed=0.0, ordered=1.0), without_order),
    Control("duplicate", "effects go with the end of the attempt", RUBBISH, with_first("duplicate")),
    Control("phantom", "events go with the end of the attempt", RUBBISH, with_first("phantom")),
    Control("lost", "what failed is tried again", RUBBISH, with_first("lost")),
    Control(
        "duplicate",
        "the same source and id are the same event",
        Mix(fails=0.0, call=0.0, ordered=0.0, delayed=0.0, twice=0.5, twice_source="/elsewhere"),
    ),
    Control("early", "delayed events wait", Mix(call=0.0, ordered=0.0, delayed=1.0, waits=False)),
)


def run(binary: Path, events: int, seed: int) -> Figures:
    figures = Figures(controls=0)
    for control in ALL:
        found = anomalies(binary, control, events, seed)
        if not found:
            raise Broken(f"without the protection {control.protection!r} nothing was {control.kind}")
        figures["controls"] += 1
        figures[f"{control.kind} ({control.protection})"] = found
    figures["retries over one budget"] = flood(binary, seed)
    figures["controls"] += 1
    return figures


def anomalies(binary: Path, control: Control, events: int, seed: int) -> int:
    """How many of its kind are found."""
    with Arena(binary, f"control-{control.kind}", seed) as arena:
        arena.server.start()
        arena.deploy(changed(arena, control.change))
        workload = Workload(arena.server, "x", seed, CLIENTS, control.mix)
        workload.start()
        until(lambda: workload.count(Answer.ACKNOWLEDGED) >= events, SECONDS, f"{events} events are accepted")
        return sum(anomaly.kind == control.kind for anomaly in arena.judge(workload.stop()))


def flood(binary: Path, seed: int) -> int:
    """A storm on many subscriptions, each with a budget of its own: for one budget that is too many retries, which the
    check of the storm must say."""

    def change(app: Path) -> None:
        ty = "step.down"
        one = (
            f'[[functions.down.on]]\nevent = "{ty}"\nretry = {{ attempts = 2, backoff = "fixed", initial = "10ms" }}\n'
        )
        many = [one.replace(ty, ty[:length] + "*") for length in range(1, len(ty) + 1)]
        replace(app / "evoke.toml", one, "".join(many))

    with Arena(binary, "control-storm", seed) as arena:
        arena.server.start()
        arena.deploy(changed(arena, change))
        events = 50
        storm.send(arena.server, events)
        _, retries = storm.work_off(arena.server, events)
        try:
            storm.within_budget(events, retries)
        except Broken:
            return len(retries)
    raise Broken(f"{len(retries)} retries of {events} events were not found to be too many")


def changed(arena: Arena, change: Callable[[Path], None]) -> Path:
    """A copy of the app with the change."""
    app = arena.scratch / "app"
    shutil.copytree(APP, app)
    change(app)
    return app


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} should have {old!r} once"
    path.write_text(text.replace(old, new))
