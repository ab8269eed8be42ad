"""Reads the state: GET /look?prefix=…&after=… gives {"entries": [[key, value], …]}, at most 1,000, by key."""

import evoke


def handler(event, context):
    query = event.get("queryStringParameters") or {}
    found = evoke.kv.list(query.get("prefix", ""), after=query.get("after"), limit=1000, values=True)
    return {"entries": [[entry.key, entry.value] for entry in found]}
