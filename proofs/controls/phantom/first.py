"""`first`, with what it publishes outside of what is undone when it fails."""

import evoke
from ledger import fate_of, meet, note


def handler(event, context):
    note("first", event["id"])
    follow = {"type": "step.second", "source": "/proofs", "id": event["id"], "data": {"fates": event["data"]["then"]}}
    evoke.functions.beside(json={"follow": follow})
    return meet(fate_of(event["data"]["fates"], context.attempt))
