"""Appends the event's number to the list of its key."""

import evoke
from ledger import fate_of, meet, note


def handler(event, context):
    key, number = event["data"]["key"], event["data"]["number"]
    note("ordered", event["id"])
    entry = evoke.kv.get_entry(f"order/{key}")
    numbers = [*(entry.value if entry else []), number]
    evoke.kv.put(f"order/{key}", numbers, if_revision=entry.revision if entry else 0)
    return meet(fate_of(event["data"]["fates"], context.attempt))
