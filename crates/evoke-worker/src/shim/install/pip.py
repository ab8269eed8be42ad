"""Runs pip: `python3 -I pip.py [--build] ARGUMENTS…`.

Without `--build` nothing is executed but pip itself. `--only-binary :all:` alone does not see to that: it says which files
of an index may be chosen, and a URL, also one that a wheel depends on, is built in spite of it. Every build starts a process,
so none can be started.
"""

import runpy
import sys

_STARTS = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")
_NO_PIP = 90


def _refuse(event, _):
    if event in _STARTS:
        raise PermissionError("it would have to be built, and install scripts are off")


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--build"]:
        del arguments[0]
    else:
        sys.addaudithook(_refuse)
    try:
        import pip  # noqa: F401
    except ImportError:
        sys.exit(_NO_PIP)
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


main()
