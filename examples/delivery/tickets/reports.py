"""Reports closed tickets, signed as Standard Webhooks has it, until the other side has taken each."""

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.request

from book import Book

PAUSE_SECONDS = 0.5


class Reports(threading.Thread):
    def __init__(self, book: Book, url: str, secret: str):
        super().__init__(daemon=True)
        self.book, self.url = book, url
        self.key = base64.b64decode(secret.removeprefix("whsec_"))
        self._closed = threading.Event()

    def wake(self) -> None:
        self._closed.set()

    def run(self) -> None:
        while True:
            self._closed.clear()
            for report, ticket in self.book.unreported():
                try:
                    with urllib.request.urlopen(self.signed(report, ticket), timeout=10):
                        self.book.reported(report)
                except (urllib.error.URLError, OSError):
                    pass  # It stays in the book, and is sent again under the same id.
            self._closed.wait(PAUSE_SECONDS)

    def signed(self, report: str, ticket: dict) -> urllib.request.Request:
        closed = {"type": "ticket.closed", "ticket": ticket["number"], "resolution": ticket["resolution"]}
        body, now = json.dumps(closed).encode(), str(int(time.time()))
        mac = hmac.digest(self.key, f"{report}.{now}.".encode() + body, hashlib.sha256)
        headers = {
            "content-type": "application/json",
            "webhook-id": report,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        return urllib.request.Request(self.url, data=body, headers=headers)
