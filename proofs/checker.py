"""Judges a history: which promises were broken. Pure; test_checker.py shows it each anomaly."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from history import Answer, History, Sent

CLOCK_SECONDS = 0.002  # Times are told in milliseconds at worst.


@dataclass(frozen=True, order=True)
class Anomaly:
    """A broken promise. `kind` is one of KINDS."""

    kind: str
    id: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}: {self.what}"


KINDS = ("lost", "phantom", "duplicate", "disorder", "early")


def check(history: History) -> list[Anomaly]:
    """All anomalies, sorted. None means: what was acknowledged took effect once or is a dead letter, what was refused did
    not, what is unknown did once or not at all, in order where that was asked for, and nothing before its time."""
    return sorted([*lost(history), *phantom(history), *duplicate(history), *disorder(history), *early(history)])


def lost(history: History) -> Iterator[Anomaly]:
    """Neither an effect nor a dead letter of something that must have one."""
    for sent in history.sent:
        due = sent.answer is Answer.ACKNOWLEDGED
        for step in sent.steps:
            took = history.effects.get((step, sent.id), 0)
            if due and not took and (step, sent.id) not in history.letters:
                yield Anomaly(
                    "lost", sent.id, f"{sent.answer.value}, and {step} neither took effect nor is a dead letter"
                )
            # With the effect came the event that causes the next one.
            due = took > 0


def phantom(history: History) -> Iterator[Anomaly]:
    """An effect of what nobody sent, of what was refused, or of a step whose cause took none."""
    known = {sent.id: sent for sent in history.sent}
    for function, id in history.effects:
        why = unwarranted(history, known.get(id), function)
        if why:
            yield Anomaly("phantom", id, f"{function} took effect, {why}")


def unwarranted(history: History, sent: Sent | None, function: str) -> str | None:
    if sent is None:
        return "and nobody sent it"
    if function not in sent.steps:
        return "which is not among its steps"
    place = sent.steps.index(function)
    if place and not history.effects.get((sent.steps[place - 1], sent.id)):
        return f"although {sent.steps[place - 1]} did not"
    if sent.answer is Answer.REFUSED:
        return "and it was refused"
    return None


def duplicate(history: History) -> Iterator[Anomaly]:
    """An effect more than once, or an effect and a dead letter of the same delivery."""
    for (function, id), times in history.effects.items():
        if times > 1:
            yield Anomaly("duplicate", id, f"{function} took effect {times} times")
        if times and (function, id) in history.letters:
            yield Anomaly("duplicate", id, f"{function} took effect and is a dead letter")


def disorder(history: History) -> Iterator[Anomaly]:
    """Effects of a key in another order than the events were accepted in."""
    for key, numbers in history.orders.items():
        for before, after in pairwise(numbers):
            if after <= before:
                yield Anomaly("disorder", key, f"{after} took effect after {before}")


def early(history: History) -> Iterator[Anomaly]:
    """Delivered before its time."""
    for sent in history.sent:
        at = history.delivered.get(sent.id)
        if sent.deliver_at is not None and at is not None and at < sent.deliver_at - CLOCK_SECONDS:
            yield Anomaly("early", sent.id, f"delivered {sent.deliver_at - at:.3f} s before its time")
