"""On user.signed_up, and on the end of an export: one mail each. evoke.toml says which of these functions concerns what.

Whatever goes wrong with the mail server is raised: the attempt fails with that reason, and is made again later. A mail
that was sent before an attempt was recorded as done is sent again with the same Message-ID, so that stores keep one.
"""

import json
import os
import smtplib
from email.message import EmailMessage


def welcome(event, context):
    send(event, context, event["data"]["email"], "Welcome", "It is good to have you here.")


def newsletter(event, context):
    send(event, context, event["data"]["email"], "Our newsletter", "It comes on Mondays.")


def updates(event, context):
    send(event, context, event["data"]["email"], "Product updates", "You hear of each release.")


def thank(event, context):
    send(event, context, event["invitedby"], "Thank you", f"{event['data']['email']} has joined us.")


def ready(event, context):
    """On the end of an export that worked: its data has the request and what was answered."""
    record = event["data"]
    text = json.dumps(record["response"]["body"], indent=2)
    send(event, context, record["request"]["body"]["email"], "Your data", text)


def apologise(event, context):
    """On the end of one that was given up, with the reason of the last attempt."""
    record = event["data"]
    text = f"We are sorry: {record['error']['message']}."
    send(event, context, record["request"]["body"]["email"], "No data", text)


def send(event, context, to, subject, text):
    message = EmailMessage()
    message["From"] = "hello@signup.example"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{context.function_name}.{event['id']}@signup.example>"
    message.set_content(text)
    host, port = os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])
    with smtplib.SMTP(host, port, local_hostname="signup.example", timeout=10) as server:
        server.send_message(message)
    print(f"{subject!r} to {to}")
