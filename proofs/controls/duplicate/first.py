"""`first`, with its effect outside of what is undone when it fails."""

import evoke
from ledger import fate_of, meet


def handler(event, context):
    evoke.functions.beside(json={"note": event["id"]})
    follow = {"type": "step.second", "source": "/proofs", "id": event["id"], "data": {"fates": event["data"]["then"]}}
    evoke.events.publish(follow)
    return meet(fate_of(event["data"]["fates"], context.attempt))
