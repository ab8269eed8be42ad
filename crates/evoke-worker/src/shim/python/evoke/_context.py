"""`context` of handlers: Lambda's fields, and who this call is."""

from time import time


class Context:
    """What is known of the call. Times are in milliseconds where the name says so."""

    client_context = None
    identity = None

    def __init__(self, call, init):
        head = call.head
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
