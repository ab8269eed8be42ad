import os

if os.environ.get("BROKEN"):
    raise RuntimeError("the table of prices cannot be read")


def handler(event, context):
    if "specversion" in event:
        return {"type": "seen", "data": event["data"]}
    path = event["rawPath"]
    if path == "/fail":
        raise LookupError("no such order")
    print("at", path)
    return {
        "path": path,
        "run": context.aws_request_id,
        "function": context.function_name,
        "memory": int(context.memory_limit_in_mb),
    }
