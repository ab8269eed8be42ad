"""Errors of the function as the host wants to hear of them."""

_TEXT_MAX = 16 << 10
_HERE = __file__.rpartition("/")[0] + "/"
_root = "/"


def set_root(root):
    global _root
    _root = root + "/"


def describe(error):
    """For ERROR and INIT_ERROR."""
    if isinstance(error, MemoryError):
        return {"type": "MemoryError", "message": "the memory limit was reached", "code": "out_of_memory"}
    if isinstance(error, SystemExit):
        return {"type": "SystemExit", "message": f"sys.exit({_argument(error.code)}) was called", "fatal": True}
    described = {"type": type(error).__qualname__, "message": _cut(_message(error))}
    if not isinstance(error, Exception):
        described["fatal"] = True
    stack = _stack(error)
    if stack:
        described["stack"] = stack
    return described


def place(error):
    """Where in the app a failure to load comes from."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        if error.filename.startswith(_root):
            return {"file": error.filename[len(_root) :], "line": error.lineno}
    found = {}
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(_root):
            found = {"file": file[len(_root) :], "line": trace.tb_lineno}
        trace = trace.tb_next
    return found


def _message(error):
    if isinstance(error, SyntaxError):
        return error.msg or ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error}: packages have to be deployed next to the function (pip install --target <folder> {error.name})"
    try:
        return str(error).replace(_root, "")
    except Exception as worse:
        return f"(its message cannot be had: {type(worse).__name__})"


def _stack(error):
    """As the interpreter prints it, without the frames of this shim."""
    from traceback import TracebackException

    try:
        told = TracebackException.from_exception(error, limit=-50, compact=True)
        _hide(told)
        return _cut("".join(told.format()).replace(_root, "").rstrip())
    except Exception:
        return ""


def _hide(told, depth=0):
    told.stack[:] = [frame for frame in told.stack if not _ours(frame.filename)]
    for inner in (told.__cause__, told.__context__):
        if inner is not None and depth < 8:
            _hide(inner, depth + 1)


def _ours(file):
    return file.startswith(_HERE) or file.startswith("<frozen importlib")


def _argument(code):
    return "" if code is None else repr(code)[:100]


def _cut(text):
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "…"
