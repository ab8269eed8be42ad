"""JSON by the interpreter's C code, without the module `json`: importing that takes half as long as all of Python's start."""

try:
    from _json import make_encoder, make_scanner, encode_basestring
except ImportError:  # an interpreter without the accelerator
    make_scanner = None


if make_scanner is None:
    from json import dumps as _dumps, loads

    def dumps(value):
        return _dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

else:

    class _Reading:
        strict = False
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        memo = {}

        @staticmethod
        def parse_constant(name):
            raise ValueError(f"{name} is not JSON")

    _scan = make_scanner(_Reading)

    def loads(text):
        """Reads what the host or the platform wrote."""
        if not isinstance(text, str):
            text = str(text, "utf-8")
        try:
            return _scan(text.lstrip(" \t\r\n"), 0)[0]
        except StopIteration as stop:
            raise ValueError(f"no JSON at position {stop.value}") from None

    def _refuse(value):
        raise TypeError(f"a value of type {type(value).__name__} is not JSON serializable")

    def dumps(value):
        """Writes a value of plain types; NaN and infinities are refused."""
        encode = make_encoder({}, _refuse, encode_basestring, None, ":", ",", False, False, False)
        return "".join(encode(value, 0))
