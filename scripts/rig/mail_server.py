"""A real SMTP server with a Maildir behind it, as a shop's customers would have.

Like the mail stores it stands for, it keeps one message per Message-ID and counts the repetitions it suppressed.
"""

import asyncio
import mailbox
import threading
from pathlib import Path

from aiosmtpd.smtp import SMTP


class MailServer:
    """Listens on `port` of 127.0.0.1 in a thread of its own: the one it is started on, or a free one."""

    def __init__(self, maildir: Path):
        self.maildir = mailbox.Maildir(maildir, create=True)
        self.refused: set[str] = set()  # Recipients answered with 550.
        self.refusals = 0
        self.suppressed = 0  # Messages that came again under a Message-ID already kept.
        self.port = 0
        self._kept: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, port: int = 0) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(timeout=10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)

    async def _listen(self, port: int) -> int:
        server = await self._loop.create_server(lambda: SMTP(self, hostname="mail.example.com"), "127.0.0.1", port)
        return server.sockets[0].getsockname()[1]

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
        if message["Message-ID"] in self._kept:
            self.suppressed += 1
        else:
            self.maildir.add(message)
            self._kept.add(message["Message-ID"])
        return "250 Message accepted for delivery"
