"""Everything fails at once: retries stay within their budget (docs/reference/manifest.md), are put off and not lost, and the
run says why it waits."""

from datetime import datetime
from pathlib import Path

from arena import Arena, Broken, Figures
from history import Sent
from observe import APP, drain
from rig.server import Server
from workload import Connections, Mix, Workload

PER_ATTEMPT, PER_SECOND, SAVED = 0.2, 10, 100
SLACK = 5  # Of starts that were late, so that the next ones are closer.


def run(binary: Path, events: int, seed: int) -> Figures:
    with Arena(binary, "storm", seed) as arena:
        server = arena.server
        server.start()
        arena.deploy()
        sent = send(server, events)
        took, retries = work_off(server, events)
        within_budget(events, retries)
        if "the budget of retries is used up" not in server.command("logs", "down", app=APP):
            raise Broken("no log line says that retries were put off")
        arena.must_hold(sent)
        return Figures({"events": events, "retries": len(retries), "seconds": round(took)}).of(sent)


def send(server: Server, events: int) -> list[Sent]:
    client = Connections(Workload(server, "s", 0, 0, Mix()))
    ids = [f"s-{number}" for number in range(events)]
    sent = [Sent(id, ("down",), client.publish("step.down", id, {}, None)) for id in ids]
    client.close()
    return sent


def work_off(server: Server, events: int) -> tuple[float, list[float]]:
    """Waits until nothing is tried any more. The seconds that took, and when each retry began, sorted."""
    took = drain(server, 120 + events / PER_SECOND)
    attempts = [attempt for run in server.pages(APP, "runs", function="down") for attempt in run["attempts"]]
    retries = [one["started_at"] for one in attempts if one["number"] > 1]
    return took, sorted(datetime.fromisoformat(at).timestamp() for at in retries)


def within_budget(events: int, retries: list[float]) -> None:
    """Whatever span one looks at."""
    for first, begin in enumerate(retries):
        for last in range(first, len(retries), max(1, len(retries) // 500)):
            allowed = SAVED + events * PER_ATTEMPT + (retries[last] - begin) * PER_SECOND + SLACK
            if last - first + 1 > allowed:
                raise Broken(
                    f"{last - first + 1} retries within {retries[last] - begin:.1f} s, {allowed:.0f} are allowed"
                )
