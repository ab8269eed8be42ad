"""`make proofs`: the guarantees of events, proven by breaking everything around them.

Clients publish events and make calls, functions take effect for them and fail as they were told to, and meanwhile the process
dies, the power goes, the disk fails or fills, the clock jumps. When all is done, a checker compares what clients were
told with what took effect. Ends with 0 only if every promise held.
"""

import argparse
import os
import signal
import sys
import time
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]
sys.dont_write_bytecode = True

import clock
import controls
import errors
import full
import kill
import power
import storm
from arena import Broken, Figures
from observe import NotDrained
from rig.server import ServerError


@dataclass(frozen=True)
class Mode:
    """A way to break things. `variable` of the environment says how often; without it `small` times."""

    name: str
    run: Callable[[Path, int, int], Figures]
    variable: str
    small: int
    nightly: int

    def size(self, nightly: bool) -> int:
        return int(os.environ.get(self.variable, self.nightly if nightly else self.small))


MODES = (
    Mode("kill", kill.run, "EVOKE_PROOF_KILLS", 5, 500),
    Mode("power", power.run, "EVOKE_PROOF_CUTS", 4, 200),
    Mode("errors", errors.run, "EVOKE_PROOF_DISK_ERRORS", 3, 40),
    Mode("full", full.run, "EVOKE_PROOF_FULL_DISKS", 1, 10),
    Mode("clock", clock.run, "EVOKE_PROOF_JUMPS", 4, 200),
    Mode("storm", storm.run, "EVOKE_PROOF_STORM", 200, 5000),
    Mode("controls", controls.run, "EVOKE_PROOF_CONTROLS", 60, 300),
)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if (
        not unittest.TextTestRunner(verbosity=0)
        .run(unittest.defaultTestLoader.loadTestsFromName("test_checker"))
        .wasSuccessful()
    ):
        return 1
    failed = []
    for mode in [mode for mode in MODES if not options.modes or mode.name in options.modes]:
        begin = time.monotonic()
        try:
            figures = mode.run(options.binary, mode.size(options.nightly), options.seed)
            print(f"proofs: {mode.name}: {figures}; held, {time.monotonic() - begin:.0f} s", flush=True)
        except (Broken, NotDrained, ServerError) as error:
            failed.append(mode.name)
            print(f"proofs: {mode.name}: BROKEN: {error}", *getattr(error, "__notes__", []), sep="\n  ", flush=True)
    print(f"proofs: {'failed: ' + ', '.join(failed) if failed else 'every promise held'}")
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="proofs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modes", nargs="*", choices=[[], *(mode.name for mode in MODES)], help="only these (all)")
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    parser.add_argument("--nightly", action="store_true", help="the large sizes")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("EVOKE_PROOF_SEED", "1")), metavar="N")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
