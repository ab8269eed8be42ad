"""On purchase_complete: sends the confirmation through an SMTP server.

A delivery is made at least once: if the server dies after the mail left and before this attempt was recorded as done,
the attempt is made again. Mail is outside of what Evoke can undo, so each attempt sends the same Message-ID, made
from the event's id, and the mail store keeps one message per Message-ID.
"""

import os
import smtplib
from email.message import EmailMessage


def handler(event, context):
    order = event["data"]
    message = confirmation(event["id"], order)
    smtp = os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])
    # Without a name to say hello with, smtplib asks the resolver for one at each mail, and waits if it is slow.
    with smtplib.SMTP(*smtp, local_hostname="shop.example", timeout=10) as server:
        # Raises when the server refuses the recipient. The exception is the reason that `evoke runs get` and
        # `evoke dlq ls` show; the retry policy in evoke.toml says how often it is tried again.
        server.send_message(message)
    print(f"order {order['order_id']}: confirmed to {order['email']}")


def confirmation(event_id: str, order: dict) -> EmailMessage:
    message = EmailMessage()
    message["From"] = os.environ["MAIL_FROM"]
    message["To"] = order["email"]
    message["Subject"] = f"Your order {order['order_id']}"
    message["Message-ID"] = f"<{event_id}@shop.example>"
    message["X-Order-ID"] = order["order_id"]
    lines = [f"{item['qty']:>4} x {item['sku']:<20} {item['price'] / 100:>10.2f}" for item in order["items"]]
    total = f"{'total ' + order['currency']:>27} {order['total'] / 100:>10.2f}"
    message.set_content("\n".join(["Thank you for your order.", "", *lines, total, ""]))
    return message
