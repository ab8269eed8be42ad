def handler(event, context):
    if not (event.get("data") or {}).get("saved"):
        raise ValueError("there is no hope")
