"""What it needs is down."""


def handler(event, context):
    raise ConnectionError("what it needs is down")
