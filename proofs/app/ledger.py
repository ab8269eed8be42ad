"""The ledger of effects: for each function and event how often it took effect. More than once is what must not be."""

import json
import os
import time

import evoke


def note(function, event):
    """One more effect. A read-modify-write, so that a second one is counted and not refused."""
    key = f"effect/{function}/{event}"
    entry = evoke.kv.get_entry(key)
    evoke.kv.put(key, (entry.value if entry else 0) + 1, if_revision=entry.revision if entry else 0)


def meet(fate):
    """What the event has in store for this attempt, after the effects were made: they must be undone."""
    if fate == "raise":
        raise RuntimeError("as the event said")
    if fate == "hang":
        time.sleep(60)
    if fate == "crash":
        os.kill(os.getpid(), 9)
    if fate == "garbage":
        return json.loads('{"neither": "an event", "nor": [1, null]}')
    return None


def fate_of(fates, attempt):
    """Of this attempt; the last one stays."""
    return fates[min(attempt, len(fates)) - 1]
