"""WSGI applications (PEP 3333), with streaming both ways."""

import sys
from io import BufferedReader, RawIOBase

from evoke._context import Context
from evoke._lambda import address, own_body, split_uri


def handle(app, call, init):
    if "event" in call.head:
        raise TypeError(f"the function got an event, but {init['name']} has only a WSGI application: define `def handler(event, context):` in a function of its own")
    response = _Response(call)
    chunks = app(_environ(call, init), response.start)
    try:
        for chunk in chunks:
            response.write(chunk)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    response.end()


class _Body(RawIOBase):
    """The request's body as a file."""

    def __init__(self, call):
        self._call = call
        self._rest = b""

    def readable(self):
        return True

    def readinto(self, into):
        if not self._rest:
            self._rest = self._call.next_chunk()
        part = self._rest[: len(into)]
        into[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def _environ(call, init):
    request = call.head["request"]
    scheme, host, path, query = split_uri(request["uri"])
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit():
        name, port = host, "443" if scheme == "https" else "80"
    environ = {
        "REQUEST_METHOD": request["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": _path_info(path),
        "QUERY_STRING": query,
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": address(request["client"])[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BufferedReader(_Body(call)),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "evoke.context": Context(call, init),
    }
    for name, value in request["headers"]:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _path_info(path):
    """Decoded bytes as latin-1, as the PEP wants it."""
    if "%" not in path:
        return path
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path).decode("latin-1")


class _Response:
    def __init__(self, call):
        self._call = call
        self._head = None
        self._held = None  # the last chunk: it may be the end, which saves a frame
        self._sent = False
        self._silent = call.head["request"]["method"] == "HEAD"

    def start(self, status, headers, exc_info=None):
        if exc_info is not None and self._sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._head is not None:
            raise AssertionError("start_response was called twice")
        self._head = (int(status[:3]), [[name.lower(), value] for name, value in headers])
        return self.write

    def write(self, chunk):
        if self._head is None:
            raise AssertionError("start_response was not called before the first part of the body")
        if not isinstance(chunk, bytes):
            raise TypeError(f"a part of the body is {type(chunk).__name__}, not bytes")
        if not chunk:
            return
        if self._held is not None:
            self._send_head(True)
            if not self._silent:
                self._call.send_chunk(self._held)
        self._held = chunk

    def end(self):
        if self._head is None:
            raise AssertionError("the WSGI application returned without calling start_response")
        self._send_head(self._held is not None)
        if not self._silent:
            self._call.send_last(self._held or b"")

    def _send_head(self, body):
        if not self._sent:
            self._sent = True
            self._silent = self._silent or not body
            self._call.respond(*own_body(*self._head, body), not self._silent)
