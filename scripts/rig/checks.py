"""A list of claims, each with what was expected and what was found."""

import os
import sys
from collections import Counter


class Checks:
    def __init__(self):
        self.passed = 0
        self.failed: list[str] = []

    def equal(self, claim: str, expected, found, show=None) -> bool:
        """`show` stands for `found` in the report when that is long and right. Of two `Counter`s only the difference is shown."""
        good = expected == found
        if not good and isinstance(expected, Counter):
            expected, found = f"also {some(expected - found)}", f"also {some(found - expected)}"
        return self._note(claim, good, expected, found, found if show is None else show)

    def holds(self, claim: str, truth: bool, found) -> bool:
        return self._note(claim, truth, "it to hold", found, found)

    def _note(self, claim: str, good: bool, expected, found, show) -> bool:
        if good:
            self.passed += 1
            print(f"  {coloured('ok', 32)}    {claim:<58} {show}", flush=True)
        else:
            self.failed.append(claim)
            print(f"  {coloured('FAIL', 31)}  {claim:<58} expected {expected}, found {found}", flush=True)
        return good


def some(counts: Counter) -> str:
    """The first few."""
    items = list(counts.elements())
    return f"{items[:3]} and {len(items) - 3} more" if len(items) > 3 else f"{items}"


def coloured(text: str, colour: int) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"
