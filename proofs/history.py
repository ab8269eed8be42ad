"""What clients did and what came of it: all that the checker knows.

Times are seconds since 1970 by the server's clock.
"""

from dataclasses import dataclass, field
from enum import Enum


class Answer(Enum):
    """What a client knows at the end of something it sent, over all its tries."""

    ACKNOWLEDGED = "acknowledged"  # At least one try was answered with success.
    REFUSED = "refused"  # Each try was answered with a refusal, or did not reach the server.
    UNKNOWN = "unknown"  # It may have happened.


@dataclass(frozen=True)
class Sent:
    """An event, or a call with effects. `steps` are the functions that take effect for it, the first directly, each other
    because the one before did."""

    id: str
    steps: tuple[str, ...]
    answer: Answer
    key: str | None = (
        None  # Of an ordered subscription; within a key the next is sent when the one before was answered.
    )
    number: int = 0  # Its place in the key.
    deliver_at: float | None = None


@dataclass
class History:
    sent: list[Sent] = field(default_factory=list)
    effects: dict[tuple[str, str], int] = field(default_factory=dict)  # (function, id) → how often it took effect.
    letters: set[tuple[str, str]] = field(default_factory=set)  # (function, id) of dead letters.
    orders: dict[str, list[int]] = field(default_factory=dict)  # key → numbers, in the order of their effects.
    delivered: dict[str, float] = field(default_factory=dict)  # id → when its first run was made.
