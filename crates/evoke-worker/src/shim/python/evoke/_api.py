"""Events, key-value and calls to functions over the platform API (docs/reference/platform-api.md).

Each operation is written once, as a generator that yields requests and is sent answers; one driver blocks between them,
the other awaits.
"""

from evoke._json import dumps, loads

_JSON = [["content-type", "application/json"]]
_BYTES = [["content-type", "application/octet-stream"]]
_PAGE = 1000
_ANY = object()
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_channel = None


def connect(channel):
    global _channel
    _channel = channel


class Error(Exception):
    """The platform refused. `code` is stable, `status` that of HTTP, `detail` a sentence."""

    def __init__(self, code, status, detail):
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail


class Conflict(Error):
    """A key is not at the revision that was expected."""


class EmitRefused(Error):
    """The manifest's `emits` does not name the event's type."""


class FunctionFailed(Error):
    """The function that was called failed."""


class InvalidRequest(Error):
    """An argument or event is malformed."""


class NotFound(Error):
    """There is no such function."""


class Overloaded(Error):
    """The function that was called has no free instance in time."""


class TimedOut(Error):
    """The function that was called, or this call itself, ran out of time."""


class TooLarge(Error):
    """A key, value, event or the sum of all effects is over its limit."""


class Unavailable(Error):
    """The platform cannot answer now."""


_ERRORS = {
    "state_conflict": Conflict,
    "emit_refused": EmitRefused,
    "function_failed": FunctionFailed,
    "invalid_request": InvalidRequest,
    "invalid_event": InvalidRequest,
    "unknown_function": NotFound,
    "not_found": NotFound,
    "overloaded": Overloaded,
    "timed_out": TimedOut,
    "too_large": TooLarge,
    "unavailable": Unavailable,
}


def drive(operation):
    """Runs an operation, blocking."""
    call = _running_call()
    try:
        request = next(operation)
        while True:
            request = operation.send(call.ask(*request))
    except StopIteration as end:
        return end.value


async def drive_async(operation):
    """Runs an operation, awaiting."""
    call = _running_call()
    try:
        request = next(operation)
        while True:
            request = operation.send(await call.ask_async(*request))
    except StopIteration as end:
        return end.value


def _running_call():
    call = None if _channel is None else _channel.running()
    if call is None:
        raise RuntimeError("the platform can only be asked while a call runs, not while the module is loaded")
    return call


class Entry:
    """A key with its value. `revision` is what `if_revision` takes; `value` is None in a list that was not asked for values."""

    __slots__ = ("key", "value", "revision", "expires_at")

    def __init__(self, key, value, revision, expires_at=None):
        self.key = key
        self.value = value
        self.revision = revision
        self.expires_at = expires_at

    def __repr__(self):
        return f"Entry(key={self.key!r}, value={self.value!r}, revision={self.revision})"


class Kv:
    """Key-value state of the app."""

    def __init__(self, run, namespace="default"):
        self._run = run
        self._base = f"/v1/kv/{_segment(namespace, 'namespace')}"

    def namespace(self, name):
        """Another part of the app's state; keys are separate."""
        return Kv(self._run, name)

    def get(self, key, default=None):
        """The JSON value at `key`, or `default`."""
        return self._run(self._get(key, default))

    def get_entry(self, key):
        """The `Entry` at `key`, or None. The value of a key that was written with put_bytes is bytes."""
        return self._run(self._get_entry(key))

    def get_bytes(self, key, default=None):
        """The value's bytes as they are stored, or `default`."""
        return self._run(self._get_bytes(key, default))

    def put(self, key, value, *, ttl=None, if_revision=_ANY):
        """Writes a JSON value and returns the revision.

        `ttl`: seconds, "10m" or a timedelta. `if_revision`: only if the key is there; 0 or None: only if it is absent.
        """
        return self._run(self._put(key, dumps(value).encode(), _JSON, ttl, if_revision))

    def put_bytes(self, key, value, *, ttl=None, if_revision=_ANY):
        """Writes bytes and returns the revision."""
        return self._run(self._put(key, bytes(memoryview(value)), _BYTES, ttl, if_revision))

    def delete(self, key, *, if_revision=_ANY):
        """Returns whether there was something to delete."""
        return self._run(self._delete(key, if_revision))

    def list(self, prefix="", *, after="", limit=_PAGE, values=False):
        """Entries by key: those that start with `prefix`, after the key `after`, at most `limit`."""
        return self._run(self._list(prefix, after, limit, values))

    def _path(self, key):
        return f"{self._base}/{_segment(key, 'key')}"

    def _get(self, key, default):
        entry = yield from self._get_entry(key)
        return default if entry is None else entry.value

    def _get_entry(self, key):
        status, headers, body = yield "GET", self._path(key), [], None
        if status == 404:
            return None
        _check(status, body)
        fields = dict(headers)
        value = loads(body) if fields.get("content-type", "").startswith("application/json") else body
        return Entry(key, value, int(fields["evoke-revision"]), _time(fields.get("evoke-expires-at")))

    def _get_bytes(self, key, default):
        status, _, body = yield "GET", self._path(key), [], None
        if status == 404:
            return default
        _check(status, body)
        return body

    def _put(self, key, body, kind, ttl, if_revision):
        query = "" if ttl is None else f"?ttl_ms={_ttl_ms(ttl)}"
        status, _, body = yield "PUT", self._path(key) + query, kind + _condition(if_revision), body
        _check(status, body)
        return loads(body)["revision"]

    def _delete(self, key, if_revision):
        status, _, body = yield "DELETE", self._path(key), _condition(if_revision), None
        _check(status, body)
        return loads(body)["deleted"]

    def _list(self, prefix, after, limit, values):
        from urllib.parse import quote, urlencode

        entries = []
        while len(entries) < limit:
            query = {"limit": min(_PAGE, limit - len(entries))}
            if prefix:
                query["prefix"] = prefix
            if after:
                query["after"] = after
            if values:
                query["values"] = "true"
            status, _, body = yield "GET", f"{self._base}?{urlencode(query, quote_via=quote)}", [], None
            _check(status, body)
            page = loads(body)
            entries += map(_listed, page["entries"])
            after = page.get("next")
            if not after:
                break
        return entries


def _time(text):
    if text is None:
        return None
    from datetime import datetime

    return datetime.fromisoformat(text)


def _listed(entry):
    value = entry.get("value")
    if "bytes" in entry:
        from binascii import a2b_base64

        value = a2b_base64(entry["bytes"])
    return Entry(entry["key"], value, entry["revision"])


class Events:
    """Events of the app."""

    def __init__(self, run):
        self._run = run

    def publish(self, event_or_events, *, delay=None, deliver_at=None):
        """Publishes an event (a dict with "type") or a list of them, all or none.

        `delay`: seconds, "10m" or a timedelta; `deliver_at`: a datetime with a time zone, or its text. Either has them
        delivered later. Returns {"id": …, "source": …}, or a list of those.
        """
        return self._run(self._publish(event_or_events, delay, deliver_at))

    def _publish(self, events, delay, deliver_at):
        many = isinstance(events, (list, tuple))
        if not many and not isinstance(events, dict):
            raise TypeError(f"publish takes a dict or a list of dicts, not {type(events).__name__}")
        if many and not events:
            return []
        path = "/v1/events" + _later(delay, deliver_at)
        status, _, body = yield "POST", path, _JSON, dumps(events).encode()
        _check(status, body)
        published = loads(body)["events"]
        return published if many else published[0]

    def wait_for(self, event, *, then, timeout, where=None, pattern=None, data=None):
        """Has the function `then` called when an event of the type `event` comes, or after `timeout`.

        `where`: a CESQL expression it must pass; `pattern`: a pattern it must match; `timeout`: seconds, "7d" or a
        timedelta; `data`: what `then` gets beside the event. Returns {"id": …, "until": …}.
        """
        return self._run(self._wait_for(event, then, timeout, where, pattern, data))

    def _wait_for(self, event, then, timeout, where, pattern, data):
        wait = {"event": event}
        wait |= {name: value for name, value in (("where", where), ("pattern", pattern)) if value is not None}
        wait |= {"timeout_ms": _ttl_ms(timeout, "timeout"), "then": then, "data": data}
        status, _, body = yield "POST", "/v1/waits", _JSON, dumps(wait).encode()
        _check(status, body)
        return loads(body)


class Response:
    """What a function answered."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def ok(self):
        return self.status < 400

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return loads(self.body)

    def __repr__(self):
        return f"<Response {self.status}, {len(self.body)} bytes>"


class Functions:
    """Other functions of the app: `functions.call("resize", "/thumb", json=…)` or `functions.resize("/thumb", json=…)`."""

    def __init__(self, run):
        self._run = run

    def call(self, name, path="/", *, method=None, json=_ANY, body=None, headers=None):
        """Sends a request (POST if it has a body, else GET) and returns the `Response`."""
        return self._run(self._call(name, path, method, json, body, headers))

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def call(path="/", **options):
            return self.call(name, path, **options)

        return call

    def _call(self, name, path, method, json, body, headers):
        if not path.startswith("/"):
            raise ValueError(f"path {path!r} must start with /")
        fields = [[key.lower(), str(value)] for key, value in (headers or {}).items()]
        if json is not _ANY:
            if body is not None:
                raise ValueError("give either json or body")
            body = dumps(json).encode()
            if not any(key == "content-type" for key, _ in fields):
                fields += _JSON
        elif isinstance(body, str):
            body = body.encode()
        method = method or ("GET" if body is None else "POST")
        answer = yield method, f"/v1/functions/{_segment(name, 'function')}{path}", fields, body
        status, headers, body = answer
        fields = {}
        for key, value in headers:
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        if "evoke-problem" in fields:
            _check(status, body)
        return Response(status, fields, body)


def _check(status, body):
    if status < 400:
        return
    try:
        problem = loads(body)
    except ValueError:
        problem = {}
    code = problem.get("code", "unknown")
    detail = problem.get("detail") or f"the platform answered with status {status}"
    raise _ERRORS.get(code, Error)(code, status, detail)


def _segment(text, what):
    if not isinstance(text, str) or not text:
        raise TypeError(f"{what} must be a str that is not empty, not {text!r}")
    if text in (".", ".."):
        return text.replace(".", "%2E")
    if text.isascii() and text.isalnum():
        return text
    from urllib.parse import quote

    return quote(text, safe="")


def _condition(if_revision):
    if if_revision is _ANY:
        return []
    revision = if_revision or 0
    if not isinstance(revision, int) or revision < 0:
        raise TypeError(f'if_revision is {if_revision!r}: give a revision, or 0 for "must be absent"')
    return [["if-revision", str(revision)]]


def _later(delay, deliver_at):
    """The query that says when events are to be delivered."""
    if delay is not None:
        if deliver_at is not None:
            raise ValueError("give delay or deliver_at, not both")
        return f"?delay_ms={_ttl_ms(delay, 'delay')}"
    if deliver_at is None:
        return ""
    if hasattr(deliver_at, "isoformat"):
        if getattr(deliver_at, "tzinfo", None) is None:
            raise ValueError(f"deliver_at is {deliver_at!r}: give a datetime with a time zone")
        deliver_at = deliver_at.isoformat()
    from urllib.parse import quote

    return f"?deliver_at={quote(str(deliver_at), safe=':')}"


def _ttl_ms(ttl, name="ttl"):
    if hasattr(ttl, "total_seconds"):
        ttl = ttl.total_seconds()
    if isinstance(ttl, (int, float)) and ttl > 0 and ttl != float("inf"):
        return max(1, round(ttl * 1000))
    if isinstance(ttl, str):
        import re

        if re.fullmatch(r"(\d+(ms|s|m|h|d))+", ttl):
            ms = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h|d)", ttl))
            if ms > 0:
                return ms
    raise ValueError(f'{name} is {ttl!r}: give seconds (60), a duration ("10m") or a timedelta, above zero')


events = Events(drive)
kv = Kv(drive)
functions = Functions(drive)
