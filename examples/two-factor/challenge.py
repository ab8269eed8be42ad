"""POST /challenges: makes a code, sends it by SMS, and keeps what is needed to check it.

Called with `Prefer: respond-async`: the login service has its answer long before this runs. If the gateway fails, so does
the attempt, and it is made again with a new code. A failed attempt leaves nothing, so the code it made is worth nothing:
only the last one that was sent counts.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
import urllib.request

import evoke


def handler(event, context):
    if not hmac.compare_digest(event["headers"].get("authorization", ""), f"Bearer {os.environ['LOGIN_KEY']}"):
        return {"statusCode": 401}
    challenge = json.loads(event["body"])
    if time.time() > challenge["expires"]:
        print(f"{challenge['id']} came too late")
        return {"statusCode": 410}

    code = f"{secrets.randbelow(1_000_000):06}"
    # Neither this state nor the logs have the code: it is in the SMS and nowhere else.
    evoke.kv.put(
        f"challenge/{challenge['id']}",
        {
            "user": challenge["user"],
            "hash": digest(challenge["id"], code),
            "failures": 0,
            "expires": challenge["expires"],
        },
        ttl=challenge["expires"] - time.time(),
    )
    # Not the run alone: the code of a further attempt is another message.
    send(challenge["phone"], f"Your code is {code}.", key=f"{context.run}.{context.attempt}")
    print(f"{challenge['id']}: sent to {challenge['user']}")
    return {"statusCode": 201}


def digest(challenge, code):
    """Keyed, because a million codes are soon tried."""
    return hmac.digest(os.environ["CODE_KEY"].encode(), f"{challenge}:{code}".encode(), hashlib.sha256).hex()


def send(phone, text, key):
    body = json.dumps({"to": phone, "text": text}).encode()
    headers = {"content-type": "application/json", "idempotency-key": key}
    request = urllib.request.Request(f"{os.environ['SMS_GATEWAY']}/messages", body, headers)
    urllib.request.urlopen(request, timeout=10).close()  # Raises unless the gateway took it.
