"""On newsletter_requested: puts the address on the list. Doing it twice changes nothing."""

import evoke


def handler(event, context):
    email = event["data"]["email"]
    evoke.kv.put(f"newsletter/{email}", {"email": email})
    print(f"{email} is on the list")
