"""Everything fails at once: retries stay within their budget (docs/reference/manifest.md), are put off and not lost, and the
run says why it waits."""

from datetime import datetime
from pathlib import Path

from arena import Arena, Broken, Figures
from history import Sent
from observe import APP, drain
from workload import Connections, Mix, Workload

PER_ATTEMPT, PER_SECOND, SAVED = 0.2, 10, 100
SLACK = 5  # Of starts that were late, so that the next ones are closer.


def run(binary: Path, events: int, seed: int) -> Figures:
    with Arena(binary, "storm", seed) as arena:
        server = arena.server
        server.start()
        arena.deploy()
        client = Connections(Workload(server, "s", seed, 0, Mix()))
        sent = []
        for number in range(events):
            id = f"s-{number}"
            sent.append(Sent(id, ("down",), client.publish("step.down", id, {}, None)))
        client.close()
        took = drain(server, 120 + events / PER_SECOND)
        runs = server.pages(APP, "runs", function="down")
        attempts = [
            (one["number"], datetime.fromisoformat(one["started_at"]).timestamp())
            for run in runs
            for one in run["attempts"]
        ]
        within_budget(events, sorted(at for number, at in attempts if number > 1))
        if "the budget of retries is used up" not in server.command("logs", "down", app=APP):
            raise Broken("no log line says that retries were put off")
        arena.must_hold(sent)
        return Figures({"events": events, "attempts": len(attempts), "seconds": round(took)}).of(sent)


def within_budget(events: int, retries: list[float]) -> None:
    """Whatever span one looks at."""
    for first, begin in enumerate(retries):
        for last in range(first, len(retries), max(1, len(retries) // 500)):
            allowed = SAVED + events * PER_ATTEMPT + (retries[last] - begin) * PER_SECOND + SLACK
            if last - first + 1 > allowed:
                raise Broken(
                    f"{last - first + 1} retries within {retries[last] - begin:.1f} s, {allowed:.0f} are allowed"
                )
