"""What the demo shows while it works: one line that changes on a terminal, plain lines elsewhere."""

import sys
import time

EVERY_SECONDS = 2.0


class Screen:
    def __init__(self):
        self._tty = sys.stdout.isatty()
        self._width = 0
        self._shown_at = 0.0
        self._begin = time.monotonic()

    def headline(self, text: str) -> None:
        self._clear()
        bold = ("\x1b[1m", "\x1b[0m") if self._tty else ("", "")
        print(f"\n{bold[0]}{text}{bold[1]}", flush=True)

    def say(self, text: str) -> None:
        self._clear()
        print(f"  {time.monotonic() - self._begin:6.1f}s  {text}", flush=True)

    def quote(self, command: str, output: str) -> None:
        """A command and what it printed."""
        self._clear()
        print(f"  $ {command}")
        for line in output.rstrip().splitlines():
            print(f"  {line}")
        sys.stdout.flush()

    def progress(self, text: str) -> None:
        """Replaces the line before on a terminal; elsewhere a line every two seconds."""
        now = time.monotonic()
        if self._tty:
            line = f"  {now - self._begin:6.1f}s  {text}"
            print(f"\r{line:<{self._width}}", end="", flush=True)
            self._width = len(line)
        elif now - self._shown_at >= EVERY_SECONDS:
            self._shown_at = now
            self.say(text)

    def _clear(self) -> None:
        if self._width:
            print("\r" + " " * self._width + "\r", end="")
            self._width = 0
