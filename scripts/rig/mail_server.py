"""A real SMTP server with a Maildir behind it, as a shop's customers would have.

Like the mail stores it stands for, it keeps one message per Message-ID and counts the repetitions it suppressed.
"""

import mailbox
import threading
from pathlib import Path

from aiosmtpd.controller import Controller


class MailServer:
    """Listens on `port` of 127.0.0.1, in a thread of its own."""

    def __init__(self, maildir: Path):
        self.maildir = mailbox.Maildir(maildir, create=True)
        self.refused: set[str] = set()  # Recipients answered with 550.
        self.refusals = 0
        self.suppressed = 0  # Messages that came again under a Message-ID already kept.
        self._kept: set[str] = set()
        self._lock = threading.Lock()
        self._controller = Controller(self, hostname="127.0.0.1", port=0)

    def start(self) -> None:
        self._controller.start()
        self.port: int = self._controller.server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._controller.stop(no_assert=True)

    @property
    def kept(self) -> int:
        """Messages in the Maildir."""
        return len(self._kept)

    def messages(self) -> list[tuple[str, str]]:
        """(Message-ID, order id) of each message, read back from the Maildir."""
        return [(message["Message-ID"], message["X-Order-ID"]) for message in self.maildir]

    # The two below are called by aiosmtpd.

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address in self.refused:
            self.refusals += 1
            return f"550 5.1.1 <{address}>: mailbox unavailable"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):
        message = mailbox.MaildirMessage(envelope.content)
        with self._lock:
            if message["Message-ID"] in self._kept:
                self.suppressed += 1
            else:
                self.maildir.add(message)
                self._kept.add(message["Message-ID"])
        return "250 Message accepted for delivery"
