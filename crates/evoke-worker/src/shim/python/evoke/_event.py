"""What becomes of what the handler of an event returns."""


def returned_events(value):
    """The events in it, as DONE wants them."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [event for item in value for event in returned_events(item)]
    if isinstance(value, dict):
        # Of a batch: which of its events are to be tried again.
        if isinstance(value.get("batchItemFailures"), list):
            return [value]
        if isinstance(value.get("type"), str):
            return [value]
        # Lambda handlers that serve requests as well often answer everything alike.
        status = value.get("statusCode")
        if isinstance(status, int):
            if status < 400:
                return []
            raise ValueError(f"the handler answered the event with status {status}")
        told = f"a dict with {', '.join(map(repr, list(value)[:5])) or 'nothing'} in it"
    else:
        told = f"the {type(value).__name__} {value!r}"[:100]
    raise TypeError(f'the handler returned {told}: an event is answered with None, or with CloudEvents (dicts with a "type")')
