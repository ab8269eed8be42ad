"""Takes effect, and lets `second` take effect for the same event."""

import evoke
from ledger import fate_of, meet, note


def handler(event, context):
    note("first", event["id"])
    follow = {"type": "step.second", "source": "/proofs", "id": event["id"], "data": {"fates": event["data"]["then"]}}
    evoke.events.publish(follow)
    return meet(fate_of(event["data"]["fates"], context.attempt))
