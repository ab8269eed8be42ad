"""The project that is delivered: it greets."""


def greeting(name: str) -> str:
    return f"Hello, {name.strip() or 'stranger'}!"
