"""`make demo`: a day in the shop, with a power cut in the middle.

Starts Evoke on a fresh data directory beside a real SMTP server, deploys the shop, lets clients order, kills the server
with `kill -9` while they do, starts it again, waits until everything is settled, and checks that each accepted order had
each of its effects exactly once. Ends with 0 only if every check held. Leaves nothing behind.
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
    options = arguments()
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-demo-"))
    story = Story(options.binary, scratch, options.orders, options.clients, options.seed)
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
    return verdict(story.checks, time.monotonic() - begin)


def verdict(checks, seconds: float) -> int:
    claims = checks.passed + len(checks.failed)
    if checks.failed:
        print(f"\ndemo: {len(checks.failed)} of {claims} checks failed: {'; '.join(checks.failed)}")
        return 1
    print(f"\ndemo: {claims} checks passed in {seconds:.0f} s. Nothing was lost, nothing was done twice.")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    parser.add_argument("--orders", type=int, default=200, metavar="N", help="at least 10 (200)")
    parser.add_argument("--clients", type=int, default=16, metavar="N", help="at least 1 (16)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is ordered (1)")
    options = parser.parse_args()
    if options.orders < 10 or options.clients < 1:
        parser.error("at least 10 orders and 1 client")
    if not options.binary.is_file():
        parser.error(f"{options.binary} is not there: cargo build --release -p evoke")
    options.binary = options.binary.resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
