"""From a source file to something that can be called."""

import sys

import _frozen_importlib
import _frozen_importlib_external

from posix import stat

_COROUTINE = 0x80  # CO_COROUTINE of code objects
_HINT = "define `def handler(event, context):`, or an ASGI or WSGI application named `app`"


def load(init):
    """Returns (contract, callable, module). Raises what the module raises, or a TypeError that says what is missing."""
    source, name, handler = init["source"], init["name"], init["handler"]
    folder, _, file = source.rpartition("/")
    _set_path(folder, init["root"])
    module = _import(source, file.removesuffix(".py"))
    if handler:
        found = getattr(module, handler, None)
        if found is None:
            raise TypeError(f"{name} has no {handler!r}, which the manifest names as handler")
        if not callable(found):
            raise TypeError(f"{name}: {handler} is a {type(found).__name__}, and cannot be called")
        return _contract(found, application=handler in ("app", "application")), found, module
    found = getattr(module, "handler", None)
    if callable(found):
        return _contract(found, application=False), found, module
    application = getattr(module, "app", None)
    if callable(application):
        return _contract(application, application=True), application, module
    if found is not None:
        raise TypeError(f"{name}: handler is a {type(found).__name__}, not a function: {_HINT}")
    raise TypeError(f"{name} has no handler: {_HINT}")


def _set_path(folder, root):
    """What is deployed with the function comes first; the machine's own packages are not seen."""
    places = [folder, f"{folder}/site-packages"]
    above = folder
    while above != root and above.startswith(root + "/"):
        above = above.rpartition("/")[0]
        if above == root:
            places.append(root)
        places.append(f"{above}/site-packages")
    places = [place for at, place in enumerate(places) if place not in places[:at] and _exists(place)]
    sys.path[:0] = places


def _exists(path):
    try:
        stat(path)
    except OSError:
        return False
    return True


def _import(source, name):
    # A function may be called like a module of the standard library without taking its place.
    if name in sys.stdlib_module_names or name in sys.modules or not name.isidentifier():
        name = "function_" + "".join(c if c.isalnum() else "_" for c in name)
    loader = _frozen_importlib_external.SourceFileLoader(name, source)
    spec = _frozen_importlib_external.spec_from_file_location(name, source, loader=loader)
    module = _frozen_importlib.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _contract(value, application):
    code, bound = _code(value)
    arguments = code.co_argcount - bound if code is not None else 2
    if arguments == 3 and (application or is_async(value)):
        return "asgi"
    if application and not is_async(value):
        return "wsgi"
    # An object of a framework, under another name than `app`.
    if not application and code is not None and not hasattr(value, "__code__") and not hasattr(value, "__func__") and bound:
        return "wsgi" if hasattr(value, "wsgi_app") else "lambda"
    return "lambda"


def is_async(value):
    """Whether calling it gives something to be awaited."""
    code, _ = _code(value)
    return code is not None and bool(code.co_flags & _COROUTINE)


def _code(value):
    """Its code, and how many of the code's first arguments are given already."""
    while type(value).__name__ == "partial":
        value = value.func
    value = getattr(value, "__wrapped__", value)
    if hasattr(value, "__func__"):
        return value.__func__.__code__, 1
    if hasattr(value, "__code__"):
        return value.__code__, 0
    call = getattr(type(value), "__call__", None)
    return getattr(call, "__code__", None), 1
