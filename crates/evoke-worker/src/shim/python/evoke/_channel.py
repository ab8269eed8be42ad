"""The socket to the host at descriptor 3, and the frames on it. docs/reference/worker-protocol.md describes them.

Whoever waits for something reads the socket for everybody: the main thread between calls, the function's own threads
while they wait for an answer, an event loop through its selector. One reads at a time.
"""

import posix
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_STREAM, socket
from _struct import Struct
from _thread import RLock, allocate_lock

INIT, INVOKE, BODY, BODY_END, BODY_ABORT, CREDIT, CANCEL, ANSWER, STOP, FORK, REAP = range(1, 12)
READY, INIT_ERROR, RESPONSE, DONE, ERROR, LOG, PLATFORM, HELLO, EXITED = range(17, 26)

DESCRIPTOR = 3

WINDOW_BYTES = 256 << 10
CHUNK_BYTES = 64 << 10

HEADER = Struct("<IIB")
_NUMBER = Struct("<I")


class Channel:
    def __init__(self):
        posix.set_inheritable(DESCRIPTOR, False)
        self.socket = socket(AF_UNIX, SOCK_STREAM, 0, DESCRIPTOR)
        self._buffer = bytearray(CHUNK_BYTES)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._out = []
        # Reentrant, because a finaliser may print wherever memory is allocated.
        self._sending = RLock()
        self._flushing = False
        self._state = allocate_lock()
        self._reading = False
        self._waiters = []  # locks of threads
        self._futures = []  # (loop, future) of coroutines
        self._loops = {}  # loop: coroutines of it that wait
        self.inbox = []  # INIT, INVOKE and STOP frames: (kind, call, payload)
        self.call = None  # the call that runs
        self.calls = None  # of those that run at once, by number, where several may

    def several(self, running):
        """From now on several calls may run at once; `running()` is that in whose name the code runs, or None."""
        self.calls = {}
        self.running = running

    def running(self):
        return self.call

    # Sending. What belongs to a call is queued under the same lock that ends it, so that nothing comes after its end.

    def send(self, kind, call, payload=b""):
        """Queues a frame; `flush` sends it."""
        frame = HEADER.pack(len(payload), call, kind) + payload
        with self._sending:
            self._out.append(frame)

    def send_in(self, call, kind, payload):
        """Queues a frame of a call. False when the call is over."""
        frame = HEADER.pack(len(payload), call.id, kind) + payload
        with self._sending:
            if call.over:
                return False
            self._out.append(frame)
            return True

    def log(self, payload):
        with self._sending:
            call = self.running()
            self.send(LOG, 0 if call is None else call.id, payload)

    def end(self, call, kind, payload):
        """Sends the last frame of a call."""
        with self._sending:
            call.over = True
            if self.calls is None:
                self.call = None
            else:
                self.calls.pop(call.id, None)
            self.send(kind, call.id, payload)
        self.flush()

    def flush(self):
        with self._sending:
            if self._flushing:
                return  # we are that finaliser: whoever is at it below us goes on with what we queued
            self._flushing = True
            try:
                while self._out:
                    out, self._out = self._out, []
                    self.socket.sendall(b"".join(out))
            finally:
                self._flushing = False

    def leave(self):
        """In a process that the function forked: the socket is its parent's alone."""
        self.socket.close()
        self._out = []
        self._sending = RLock()
        self.call = None
        self.running = lambda: None

    def renew(self):
        """In a process that was forked to be an instance: at the descriptor is a socket of its own now."""
        self._out = []
        self._sending = RLock()
        self._state = allocate_lock()
        self._filled = 0
        self.inbox = []

    # Receiving.

    def wait_until(self, ready):
        """Blocks this thread until `ready()` gives something true, and returns that."""
        self.flush()
        while True:
            with self._state:
                result = ready()
                if result:
                    return result
                leads = not self._reading
                if leads:
                    self._reading = True
                else:
                    waiter = allocate_lock()
                    waiter.acquire()
                    self._waiters.append(waiter)
            if leads:
                try:
                    self._read(0)
                finally:
                    self._wake()
            else:
                waiter.acquire()

    async def wait_until_async(self, ready):
        """The same for a coroutine."""
        from asyncio import get_running_loop

        self.flush()
        loop = get_running_loop()
        while True:
            with self._state:
                result = ready()
                if result:
                    return result
                future = loop.create_future()
                self._futures.append((loop, future))
            self._attach(loop)
            try:
                await future
            finally:
                self._detach(loop)

    def _attach(self, loop):
        waiting = self._loops.get(loop)
        if waiting is None:
            loop.add_reader(DESCRIPTOR, self._read_ready)
        self._loops[loop] = (waiting or 0) + 1

    def _detach(self, loop):
        self._loops[loop] -= 1
        # The loop that serves calls always has somebody waiting; others go away and must not be held on to.
        if self._loops[loop] == 0 and loop is not self.main_loop:
            del self._loops[loop]
            loop.remove_reader(DESCRIPTOR)

    main_loop = None

    def _read_ready(self):
        with self._state:
            if self._reading:
                return  # another thread is at it, and tells us
            self._reading = True
        try:
            self._read(MSG_DONTWAIT)
        except BlockingIOError:
            pass
        finally:
            self._wake()

    def _wake(self):
        with self._state:
            self._reading = False
            waiters, self._waiters = self._waiters, []
            futures, self._futures = self._futures, []
        for waiter in waiters:
            waiter.release()
        for loop, future in futures:
            try:
                loop.call_soon_threadsafe(_resolve, future)
            except RuntimeError:
                pass  # the loop was closed

    def _read(self, flags):
        got = self.socket.recv_into(self._view[self._filled :], 0, flags)
        if got == 0:
            posix._exit(0)  # the host is gone
        filled = self._filled + got
        at = 0
        while filled - at >= 9:
            length, call, kind = HEADER.unpack_from(self._buffer, at)
            end = at + 9 + length
            if end > filled:
                if end - at > len(self._buffer):
                    self._grow(end - at)
                break
            payload = bytes(self._view[at + 9 : end])
            if self.calls is None:
                self._take(kind, call, payload)
            else:
                with self._state:
                    self._take(kind, call, payload)
            at = end
        if 0 < at < filled:
            self._buffer[: filled - at] = self._buffer[at:filled]
        self._filled = filled - at
        if self._filled == 0 and len(self._buffer) > CHUNK_BYTES:
            self._buffer = bytearray(CHUNK_BYTES)
            self._view = memoryview(self._buffer)

    def _grow(self, size):
        larger = bytearray(size)
        larger[: len(self._buffer)] = self._buffer
        self._buffer = larger
        self._view = memoryview(larger)

    def _take(self, kind, call, payload):
        if kind == INVOKE or call == 0:
            self.inbox.append((kind, call, payload))
            return
        running = self.call if self.calls is None else self.calls.get(call)
        if kind in (BODY, BODY_END, BODY_ABORT, CREDIT, CANCEL, ANSWER):
            if running is not None and running.id == call:
                running.take(kind, payload)
            # What comes for a call that is over is of no interest.
            elif any(frame[1] == call for frame in self.inbox):
                # The body came along with its INVOKE, before that was looked at.
                self.inbox.append((kind, call, payload))


def _resolve(future):
    if not future.done():
        future.set_result(None)
