"""The same with the standard library of Python."""

import os
import urllib.error
import urllib.request


def handler(event, context):
    try:
        with urllib.request.urlopen(urllib.request.Request(os.environ["NEXT"], method="POST")) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    return {"statusCode": status, "headers": {"content-type": "application/problem+json"}, "body": body.decode()}
