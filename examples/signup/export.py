"""POST /exports: all that is known of somebody. Called with `Prefer: respond-async`; evoke.toml says who is told how it ended."""

import json

import evoke


def handler(event, context):
    email = json.loads(event["body"])["email"]
    user = evoke.kv.get(f"user/{email}")
    if user is None:
        # Tried again, then given up: whoever signs up at this moment may not be there yet.
        raise LookupError(f"{email} has not signed up")
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(user)}
