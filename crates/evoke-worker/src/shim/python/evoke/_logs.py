"""What the function writes to stdout and stderr, line by line, as LOG frames of the call that runs."""

import sys
from _thread import RLock
from io import BufferedIOBase, TextIOBase

# Bytes kept free for the words at the end of a line that was cut.
_MARK = 32


class Bytes(BufferedIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text):
        self._text = text

    def write(self, data):
        self._text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def writable(self):
        return True

    def fileno(self):
        return self._text.fileno()


class Lines(TextIOBase):
    """`sys.stdout` and `sys.stderr`."""

    encoding = "utf-8"
    errors = "replace"
    line_buffering = True

    def __init__(self, number, channel, limits):
        self._number = number
        self._prefix = bytes([number])
        self._channel = channel
        self._limits = limits
        self._begun = {}  # lines that are not whole: (text, bytes left out), by the call where several run
        self._rest = ""
        self._skipped = 0
        self._lock = RLock()
        self.name = "<stdout>" if number == 1 else "<stderr>"

    @property
    def buffer(self):
        return Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            key = self._take()
            *whole, rest = text.split("\n")
            for line in whole:
                self._add(line)
                self._emit()
            self._add(rest)
            self._put(key)
        if whole:
            self._channel.flush()
        return len(text)

    def finish(self):
        """Sends a begun line."""
        with self._lock:
            key = self._take()
            if self._rest:
                self._emit()
            self._put(key)

    def _take(self):
        """The begun line of the call that writes; where only one runs at a time it is at hand."""
        if self._channel.calls is None:
            return None
        call = self._channel.running()
        key = 0 if call is None else call.id
        self._rest, self._skipped = self._begun.pop(key, ("", 0))
        return key

    def _put(self, key):
        if key is not None:
            if self._rest:
                self._begun[key] = self._rest, self._skipped
            self._rest, self._skipped = "", 0

    def _add(self, text):
        """A function that writes for ever without a line end shall not fill the memory: beyond the limit it is counted."""
        room = self._limits["log_line_bytes"] - len(self._rest)
        if len(text) > room:
            self._skipped += len(text[room:].encode("utf-8", "replace"))
            text = text[:room]
        self._rest += text

    def _emit(self):
        data, skipped, limit = self._rest.encode("utf-8", "replace"), self._skipped, self._limits["log_line_bytes"]
        self._rest, self._skipped = "", 0
        if data.endswith(b"\r") and not skipped:
            data = data[:-1]
        if skipped or len(data) > limit:
            room = limit - _MARK if limit > 4 * _MARK else limit
            while room and data[room : room + 1] and data[room] & 0xC0 == 0x80:
                room -= 1
            mark = f" … {skipped + len(data) - room} more bytes".encode() if limit > 4 * _MARK else b""
            data = data[:room] + mark
        self._channel.log(self._prefix + data)

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self._number

    def reconfigure(self, **_):
        """There is nothing to set."""


def capture(channel, limits):
    sys.stdout = sys.__stdout__ = Lines(1, channel, limits)
    sys.stderr = sys.__stderr__ = Lines(2, channel, limits)


def release():
    """Back to the plain descriptors, which the host reads as well."""
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def finish():
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, Lines):
            stream.finish()
