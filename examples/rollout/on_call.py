"""Says what becomes of versions, in its log: see `evoke logs on-call`."""


def handler(event, context):
    data = event["data"]
    why = f": {data['reason']}" if data.get("reason") else ""
    print(f"{event['type']}: version {data['version']}{why}")
