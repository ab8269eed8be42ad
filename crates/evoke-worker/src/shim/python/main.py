"""The program of a CPython worker: `python3 -I -S main.py`.

Loads one function and runs its calls, one at a time. It starts no thread, so that a process which has loaded a function
may be forked. Imports are kept to what is compiled into the interpreter as far as possible: they are most of a start.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from evoke._serve import main  # noqa: E402

main()
