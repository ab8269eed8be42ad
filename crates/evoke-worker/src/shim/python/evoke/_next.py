"""`context.next()`: goes on along a route, in a function that is one of its decorators.

A body that nobody reads stays with the host, and is only named (docs/reference/decorators.md).
"""

from binascii import a2b_base64

from evoke._api import _check
from evoke._json import dumps, loads

_BODY = "evoke-body"


class Request(dict):
    """A function-URL payload whose `body` is read when somebody looks for it."""

    def __init__(self, payload, read):
        super().__init__(payload)
        self._read = read

    def is_read(self):
        return self._read is None

    def _load(self):
        read, self._read = self._read, None
        if read is not None:
            for key, value in read().items():
                self.setdefault(key, value)

    def __setitem__(self, key, value):
        if key == "body":
            self._load()
        super().__setitem__(key, value)

    def __missing__(self, key):
        if key in ("body", "isBase64Encoded") and self._read is not None:
            self._load()
            if dict.__contains__(self, key):
                return dict.__getitem__(self, key)
        raise KeyError(key)

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key):
        if key in ("body", "isBase64Encoded"):
            self._load()
        return super().__contains__(key)

    def __iter__(self):
        self._load()
        return super().__iter__()

    def __len__(self):
        self._load()
        return super().__len__()

    def __repr__(self):
        self._load()
        return super().__repr__()

    def __eq__(self, other):
        self._load()
        return super().__eq__(other)

    __hash__ = None

    def keys(self):
        self._load()
        return super().keys()

    def values(self):
        self._load()
        return super().values()

    def items(self):
        self._load()
        return super().items()

    def pop(self, *args):
        self._load()
        return super().pop(*args)

    def copy(self):
        self._load()
        return dict(super().items())


class Answer(dict):
    """What is next answered, as a function-URL response: to be returned as it is, or with another `body`.

    `evoke-body` among its headers stands for its body. `bytes()`, `text()` and `json()` read it; in a coroutine they are
    awaited.
    """

    def __init__(self, context, status, fields):
        headers, cookies = {}, []
        for name, value in fields:
            if name == "set-cookie":
                cookies.append(value)
            else:
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        super().__init__(statusCode=status, headers=headers, cookies=cookies)
        self._context = context

    @property
    def status(self):
        return self["statusCode"]

    @property
    def headers(self):
        return self["headers"]

    def bytes(self):
        return self._context._run(self._read(_same))

    def text(self):
        return self._context._run(self._read(lambda body: body.decode("utf-8", "replace")))

    def json(self):
        return self._context._run(self._read(loads))

    def _read(self, form):
        name = self["headers"].pop(_BODY, None)
        if name is not None:
            parts = []
            while True:
                status, fields, body = yield "GET", f"/v1/next-body/{name}", [], None
                _refused(status, fields, body)
                if not body:
                    break
                parts.append(body)
            self["body"] = b"".join(parts)
        return form(to_bytes(self))


def _same(body):
    return body


def to_bytes(message):
    body = message.get("body")
    if body is None:
        return b""
    if isinstance(body, str):
        return a2b_base64(body) if message.get("isBase64Encoded") else body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    return dumps(body).encode()


def go(context, request, came):
    """The operation: goes on with `request`, a function-URL payload, or with what came."""
    from urllib.parse import quote

    if request is None:
        request = came
    body, fields = None, []
    for name, value in (request.get("headers") or {}).items():
        name = name.lower()
        if name not in (_BODY, "content-length", "cookie"):
            fields.append([name, str(value)])
    if request.get("cookies"):
        fields.append(["cookie", "; ".join(request["cookies"])])
    if isinstance(request, Request) and not request.is_read():
        fields.append([_BODY, "incoming"])
    else:
        body = to_bytes(request)
    path = ""
    if (request["rawPath"], request.get("rawQueryString", "")) != context._target:
        query = request.get("rawQueryString")
        path = quote(request["rawPath"], safe="/:@!$&'()*+,;=-._~") + (f"?{query}" if query else "")
    method = request["requestContext"]["http"]["method"]
    status, fields, answer = yield method, f"/v1/next{path}", fields, body
    _refused(status, fields, answer)
    return Answer(context, status, fields)


def go_raw(context, method, path, headers, body):
    """The operation for applications: goes on with the request as it came where an argument is None."""
    request = context._head["request"]
    fields = [[str(name).lower(), str(value)] for name, value in (request["headers"] if headers is None else headers)]
    fields = [field for field in fields if field[0] not in (_BODY, "content-length")]
    if body is None:
        fields.append([_BODY, "incoming"])
    status, fields, answer = yield method or request["method"], f"/v1/next{path or ''}", fields, body
    _refused(status, fields, answer)
    return Answer(context, status, fields)


def _refused(status, fields, body):
    fields = dict(fields)
    if "evoke-refused" in fields or fields.get("evoke-problem") == "nothing_next":
        _check(status, body)


def drive(call, operation):
    """Runs an operation, blocking."""
    try:
        request = next(operation)
        while True:
            request = operation.send(call.ask(*request))
    except StopIteration as end:
        return end.value


async def drive_async(call, operation):
    """Runs an operation, awaiting."""
    try:
        request = next(operation)
        while True:
            request = operation.send(await call.ask_async(*request))
    except StopIteration as end:
        return end.value


def encoded(body, content_type, encode):
    """What a payload has of a body."""
    if not body:
        return {}
    text, is_base64 = encode(body, content_type)
    return {"body": text, "isBase64Encoded": is_base64}
