"""Makes effects for `first` in a call of its own: they are durable when it ends, whatever becomes of who asked for them."""

import json

import evoke
from ledger import note


def handler(event, context):
    asked = json.loads(event["body"])
    if "note" in asked:
        note("first", asked["note"])
    if "follow" in asked:
        evoke.events.publish(asked["follow"])
    return {"statusCode": 204}
