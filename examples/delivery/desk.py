"""The ticket service, as functions see it."""

import json
import os
import urllib.request


def open_ticket(key: str, kind: str, title: str, text: str) -> int:
    """Opens a ticket and returns its number. The same `key` again is the same ticket, however often an attempt is made."""
    request = urllib.request.Request(
        f"{os.environ['TICKETS']}/tickets",
        data=json.dumps({"kind": kind, "title": title, "text": text}).encode(),
        headers={"content-type": "application/json", "idempotency-key": key},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["number"]
