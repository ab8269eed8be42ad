import evoke


def handler(event, context):
    name = event["data"]["name"]

    # Counted exactly once: the write is committed together with the end of this delivery.
    key = f"greeted/{name}"
    count = (evoke.kv.get(key) or 0) + 1
    evoke.kv.put(key, count)
    print(f"{name} was greeted, {count} in all")
