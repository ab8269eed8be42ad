import json

import evoke


def handler(event, context):
    name = (event.get("queryStringParameters") or {}).get("name", "world")

    # Leaves together with the answer, or not at all.
    evoke.events.publish({"type": "greeted", "subject": name, "data": {"name": name}})

    count = evoke.kv.get(f"greeted/{name}") or 0
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": f"Hello, {name}!", "greetedBefore": count}),
    }
