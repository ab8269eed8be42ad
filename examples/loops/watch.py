"""Writes down what the platform says of loops; a page or a message to whoever is on call would be sent here."""


def handler(event, context):
    data = event["data"]
    print(event["type"], data["function"], data["reason"])
