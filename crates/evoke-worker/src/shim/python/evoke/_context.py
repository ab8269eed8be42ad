"""`context` of handlers: Lambda's fields, and who this call is."""

from time import time


class Context:
    """What is known of the call. Times are in milliseconds where the name says so."""

    client_context = None
    identity = None

    def __init__(self, call, init, awaits=False):
        head = self._head = call.head
        self._call = call
        self._awaits = awaits
        self._came = self._target = None
        self.run = self.aws_request_id = head["run"]
        self.attempt = head["attempt"]
        self.cause = head["cause"]
        request = head.get("request")
        self.params = dict(request["params"]) if request else {}
        self.app = init["app"]
        self.function = self.function_name = init["function"]
        self.revision = self.function_version = self.log_stream_name = init["revision"]
        self.memory_limit_in_mb = str(init["memory_mib"])
        self.deadline_ms = head["deadline_ms"]

    def next(self, event=None):
        """Goes on along the route, for a function among its decorators: with `event`, or with the request as it came.

        Returns what can be returned; in a coroutine it is awaited.
        """
        from evoke import _next

        if self._came is None:
            raise TypeError("next is for handlers of requests; an application calls next_request")
        return self._run(_next.go(self, event, self._came))

    def next_request(self, *, method=None, path=None, headers=None, body=None):
        """The same for ASGI and WSGI applications: what is None goes on as it came; `headers` are pairs."""
        from evoke import _next

        return self._run(_next.go_raw(self, method, path, headers, body))

    def _run(self, operation):
        from evoke import _next

        return (_next.drive_async if self._awaits else _next.drive)(self._call, operation)

    @property
    def invoked_function_arn(self):
        return f"arn:evoke:lambda:local:{self.app}:function:{self.function}"

    @property
    def log_group_name(self):
        return f"/evoke/{self.app}/{self.function}"

    @property
    def deadline(self):
        """As a datetime in UTC."""
        from datetime import datetime, timezone

        return datetime.fromtimestamp(self.deadline_ms / 1000, timezone.utc)

    def get_remaining_time_in_millis(self):
        return max(0, int(self.deadline_ms - time() * 1000))

    def __repr__(self):
        return f"<Context run={self.run} attempt={self.attempt} function={self.function}>"
