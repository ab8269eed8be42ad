"""An order that cannot be right is answered here, with what is wrong and where. Any other goes on as it came."""

import json

CURRENCIES = ("EUR", "CHF")


def handler(event, context):
    if not event["headers"].get("content-type", "").startswith("application/json"):
        return problem(415, "unsupported_media_type", "an order is JSON")
    try:
        order = json.loads(event.get("body") or "")
    except ValueError as error:
        return problem(400, "invalid_request", f"the body is no JSON: {error}")
    wrong = [f"{pointer}: {what}" for pointer, what in complaints(order)]
    if wrong:
        return problem(422, "invalid_order", "; ".join(wrong))
    return context.next(event)


def complaints(order):
    """What is wrong, each with its JSON pointer."""
    if not isinstance(order, dict):
        return [("", "is no object")]
    found = []
    if order.get("currency") not in CURRENCIES:
        found.append(("/currency", f"is none of {', '.join(CURRENCIES)}"))
    items = order.get("items")
    if not isinstance(items, list) or not items:
        return found + [("/items", "is no list with items in it")]
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            found.append((f"/items/{at}", "is no object"))
            continue
        if not is_number(item.get("price"), (int, float)) or item["price"] < 0:
            found.append((f"/items/{at}/price", "is no number from 0"))
        if not is_number(item.get("count"), int) or item["count"] < 1:
            found.append((f"/items/{at}/count", "is no whole number from 1"))
    return found


def is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)


def problem(status, code, detail):
    body = json.dumps({"title": code.replace("_", " "), "status": status, "code": code, "detail": detail})
    return {"statusCode": status, "headers": {"content-type": "application/problem+json"}, "body": body}
