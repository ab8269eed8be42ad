"""From `git push` to a release, with a `kill -9` while the delivery waits for its ticket.

Starts Evoke on a fresh data folder, a ticket service, and a bare repository with this example's hook; pushes commits that are good, that
break a test and that an analysis finds fault with; closes tickets; and checks what became of each. Ends with 0 only if every check held.
Leaves nothing behind.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "scripts")]
sys.dont_write_bytecode = True

from rig.server import ServerError
from story import Story


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    options = parser.parse_args()
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-delivery-"))
    story = Story(options.binary.resolve(), scratch)
    try:
        story.tell()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except ServerError as error:
        print(f"\n{error}\n\nthe server's last words:\n{story.server.last_words()}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C must not leave processes or files.
        story.close()
        shutil.rmtree(scratch, ignore_errors=True)
    checks = story.checks
    if checks.failed:
        print(f"\ndelivery: {len(checks.failed)} checks failed: {'; '.join(checks.failed)}")
        return 1
    print(f"\ndelivery: {checks.passed} checks passed in {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
