"""The function's own part of becoming an instance. Instances are forked from a process that has loaded the function, and
what must not be the same in two of them, or shared between them, is made anew here."""

_hooks = []


def after_fork(function):
    """Decorator: calls `function()` once in each instance, before its first call."""
    _hooks.append(function)
    return function


def call(module):
    """Calls what was marked, and the module's own `after_fork`; also in an instance that was not forked. Raises what they
    raise."""
    for hook in _hooks:
        hook()
    hook = getattr(module, "after_fork", None)
    if callable(hook) and hook is not after_fork and hook not in _hooks:
        hook()
