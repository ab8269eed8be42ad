"""What a schema cannot say of an order: a dear one has to come from somebody. Any other goes on as it came."""

import json

DEAR = 1_000


def handler(event, context):
    order = json.loads(event["body"])
    total = sum(item["price"] * item["count"] for item in order["items"])
    if total > DEAR and not order.get("customer"):
        detail = f"/customer: an order of {total} {order['currency']} needs one, from {DEAR} on"
        return problem(422, "invalid_order", detail)
    return context.next(event)


def problem(status, code, detail):
    body = json.dumps({"title": code.replace("_", " "), "status": status, "code": code, "detail": detail})
    return {"statusCode": status, "headers": {"content-type": "application/problem+json"}, "body": body}
