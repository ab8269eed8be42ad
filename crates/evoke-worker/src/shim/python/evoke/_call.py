"""One call as the shim sees it: the request's body on its way in, the response on its way out, platform requests."""

from _struct import Struct
from _thread import allocate_lock

from evoke import _channel as wire
from evoke._json import dumps, loads

_NUMBERS = Struct("<II")
# Credit is given back in portions, to spare frames.
_GRANT_BYTES = wire.WINDOW_BYTES // 4


class BodyAborted(OSError):
    """The rest of the request will not come."""


class Call:
    def __init__(self, id, head, channel, limits):
        self.id = id
        self.head = head
        self.limits = limits
        self.over = False
        self.cancelled = None
        self.stop = None  # stops its handler, where that can be done
        self._channel = channel
        request = head.get("request")
        self._chunks = []
        self._body_ended = request is None or not request["body"]
        self._body_error = None
        self._body_read = 0
        self._credit = wire.WINDOW_BYTES
        self._asked = {}  # number: None, then the answer
        self._last_number = 0
        self._open = 0
        self._numbering = allocate_lock()

    def take(self, kind, payload):
        """A frame from the host."""
        if kind == wire.BODY or kind == wire.BODY_END:
            if payload:
                self._chunks.append(payload)
            self._body_ended = kind == wire.BODY_END
        elif kind == wire.BODY_ABORT:
            self._body_error = payload.decode()
            self._body_ended = True
        elif kind == wire.CREDIT:
            self._credit += int.from_bytes(payload, "little")
        elif kind == wire.CANCEL:
            self.cancelled = payload.decode()
            if self.stop is not None:
                self.stop()
        elif kind == wire.ANSWER:
            number, head_bytes = _NUMBERS.unpack_from(payload)
            if number in self._asked:
                head = loads(payload[8 : 8 + head_bytes])
                with self._numbering:
                    self._open -= 1
                self._asked[number] = (head["status"], head["headers"], payload[8 + head_bytes :])

    # The request's body.

    def next_chunk(self):
        """Waits for the next part of the body; b"" at its end."""
        if not self._chunks and not self._body_ended:
            self._channel.wait_until(self._has_body)
        return self._next_chunk()

    async def next_chunk_async(self):
        if not self._chunks and not self._body_ended:
            await self._channel.wait_until_async(self._has_body)
        return self._next_chunk()

    def body_at_end(self):
        """Whether nothing is left of the body."""
        return self._body_ended and not self._chunks and self._body_error is None

    def read_body(self):
        """Waits for all of it."""
        chunks = list(self._bounded(iter(self.next_chunk, b"")))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def read_body_async(self):
        chunks = []
        while chunk := await self.next_chunk_async():
            chunks.append(chunk)
        return b"".join(self._bounded(chunks))

    def _bounded(self, chunks):
        size, limit = 0, self.limits["body_bytes"]
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise ValueError(f"request body is larger than the limit of {limit} bytes")
            yield chunk

    def _has_body(self):
        return self._chunks or self._body_ended

    def _next_chunk(self):
        if not self._chunks:
            if self._body_error is not None:
                raise BodyAborted(f"request {self._body_error}")
            return b""
        chunk = self._chunks.pop(0)
        self._body_read += len(chunk)
        if self._body_read >= _GRANT_BYTES and not self._body_ended:
            self._channel.send_in(self, wire.CREDIT, self._body_read.to_bytes(4, "little"))
            self._channel.flush()
            self._body_read = 0
        return chunk

    # The response.

    def respond(self, status, headers, body):
        head = {"status": status, "headers": headers, "body": body}
        self._channel.send_in(self, wire.RESPONSE, dumps(head).encode())

    def send_last(self, data):
        """The last part of the body, or all of it."""
        data = memoryview(data)
        while len(data) > min(self._credit, wire.CHUNK_BYTES):
            if not self._credit:
                self._channel.wait_until(self._has_credit)
            data = self._send_part(data)
        self._credit -= len(data)
        self._channel.send_in(self, wire.BODY_END, bytes(data))

    def send_chunk(self, data):
        data = memoryview(data)
        while data:
            if not self._credit:
                self._channel.wait_until(self._has_credit)
            data = self._send_part(data)
        self._channel.flush()

    async def send_last_async(self, data):
        data = memoryview(data)
        while len(data) > min(self._credit, wire.CHUNK_BYTES):
            if not self._credit:
                await self._channel.wait_until_async(self._has_credit)
            data = self._send_part(data)
        self._credit -= len(data)
        self._channel.send_in(self, wire.BODY_END, bytes(data))

    async def send_chunk_async(self, data):
        data = memoryview(data)
        while data:
            if not self._credit:
                await self._channel.wait_until_async(self._has_credit)
            data = self._send_part(data)
        self._channel.flush()

    def _has_credit(self):
        return self._credit

    def _send_part(self, data):
        part = data[: min(self._credit, wire.CHUNK_BYTES)]
        self._credit -= len(part)
        self._channel.send_in(self, wire.BODY, bytes(part))
        return data[len(part) :]

    # Platform requests.

    def ask(self, method, path, headers, body):
        """Waits for the answer: status, header fields, body."""
        number = self._channel.wait_until(self._number)
        self._send_request(number, method, path, headers, body)
        try:
            return self._channel.wait_until(lambda: self._asked[number])
        finally:
            del self._asked[number]

    async def ask_async(self, method, path, headers, body):
        number = await self._channel.wait_until_async(self._number)
        self._send_request(number, method, path, headers, body)
        try:
            return await self._channel.wait_until_async(lambda: self._asked[number])
        finally:
            # A request that nobody waits for any more is still known until it is answered.
            if self._asked[number] is not None:
                del self._asked[number]

    def _number(self):
        """A number for a request, if one more may be under way."""
        with self._numbering:
            if self._open >= self.limits["platform_in_flight"]:
                return None
            self._open += 1
            self._last_number += 1
            self._asked[self._last_number] = None
            return self._last_number

    def _send_request(self, number, method, path, headers, body):
        head = dumps({"method": method, "path": path, "headers": headers}).encode()
        payload = _NUMBERS.pack(number, len(head)) + head + (body or b"")
        if not self._channel.send_in(self, wire.PLATFORM, payload):
            raise RuntimeError("the call is over: nothing can be asked of the platform in its name any more")
