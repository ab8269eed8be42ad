"""Runs the tutorial of the README as a reader would, and compares what is printed with what the README says.

The section `## Five minutes` is read. Each ```sh block is typed into a shell; the ```text block after it, if there is
one, is what must be printed: its lines in this order, with others in between, `…` standing for anything. A comment
before a block says how it is run:

    <!-- terminal 2 -->   in a shell of its own; the first shell otherwise
    <!-- stays -->        it goes on running; only its expected output is waited for
    <!-- eventually -->   run again until the expected output is there
    <!-- prints -->       nothing is typed; what goes on running there prints the ```text block that follows
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECTION = re.compile(r"^## Five minutes$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(
    r"^(?:<!-- (?P<how>[\w ,]+) -->\n)?```sh\n(?P<commands>.*?)^```$(?:\n+```text\n(?P<expected>.*?)^```$)?"
    r"|^<!-- (?P<where>[\w ,]+), prints -->\n```text\n(?P<prints>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PATIENCE_SECONDS = 90


@dataclass
class Block:
    commands: str
    expected: list[str]
    terminal: str
    stays: bool
    eventually: bool


class Failed(Exception):
    """What was run, what was expected, what was printed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tutorial", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    binary = parser.parse_args().binary.resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    blocks = read(ROOT / "README.md")
    scratch = Path(tempfile.mkdtemp(prefix="evoke-tutorial-"))
    ports = free_ports(2)
    terminals: dict[str, Terminal] = {}
    try:
        for block in blocks:
            if block.terminal not in terminals:
                terminals[block.terminal] = Terminal(scratch, binary.parent)
            play(terminals[block.terminal], block, ports)
    except Failed as failed:
        print(f"tutorial: failed\n{failed}")
        return 1
    finally:
        for terminal in terminals.values():
            terminal.close()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"tutorial: {len(blocks)} blocks of README.md do what it says")
    return 0


def read(readme: Path) -> list[Block]:
    section = SECTION.search(readme.read_text())
    assert section, f"{readme} has no section '## Five minutes' that is followed by another"
    blocks = []
    for match in BLOCK.finditer(section[1]):
        how = match["how"] or match["where"] or ""
        terminal = re.search(r"terminal (\d+)", how)
        blocks.append(
            Block(
                commands=match["commands"] or "",
                expected=(match["expected"] or match["prints"] or "").splitlines(),
                terminal=terminal[1] if terminal else "1",
                stays="stays" in how or match["prints"] is not None,
                eventually="eventually" in how,
            )
        )
    assert blocks, f"{readme}: the tutorial has no ```sh block"
    return blocks


def play(terminal: "Terminal", block: Block, ports: list[int]) -> None:
    print("\n".join(f"$ {line}" for line in block.commands.splitlines()), flush=True)
    commands = elsewhere(block.commands, ports)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if commands:
            terminal.type(commands)
        if block.stays:
            terminal.wait(lambda: missing(block.expected, terminal.printed) is None, deadline)
            printed, ended = terminal.printed, True
        else:
            printed, ended = terminal.finish(deadline)
        lacking = missing(block.expected, printed)
        if ended and lacking is None:
            print(printed.strip(), flush=True)
            return
        if not block.eventually or time.monotonic() > deadline:
            wanted = "\n".join(block.expected)
            raise Failed(f"missing: {lacking}\n--- expected ---\n{wanted}\n--- printed ---\n{printed}")
        time.sleep(0.3)


def elsewhere(commands: str, ports: list[int]) -> str:
    """The same commands on ports that are free here, whatever else runs on this machine."""
    commands = commands.replace("127.0.0.1:7070", f"127.0.0.1:{ports[0]}")
    listeners = f"--listen 127.0.0.1:{ports[0]} --admin 127.0.0.1:{ports[1]}"
    return re.sub(r"^evoke (dev|serve)\b", rf"evoke \1 {listeners}", commands, flags=re.MULTILINE)


def missing(expected: list[str], printed: str) -> str | None:
    """The first expected line that is not among the printed ones, in order."""
    lines = iter(printed.splitlines())
    for line in filter(str.strip, expected):
        pattern = re.compile(r"\s+".join(map(wildcard, line.split())))
        if not any(pattern.fullmatch(" ".join(found.split())) for found in lines):
            return line
    return None


def wildcard(word: str) -> str:
    return ".*".join(re.escape(part) for part in word.split("…"))


class Terminal:
    """A shell that is typed into."""

    def __init__(self, home: Path, binaries: Path):
        # Nothing of the caller's own Evoke settings; the binary under test before any other.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVOKE_")}
        if mark := os.environ.get("EVOKE_TEST_MARK"):
            environment["EVOKE_TEST_MARK"] = mark
        environment |= {"PATH": f"{binaries}:{environment['PATH']}", "NO_COLOR": "1", "HOME": str(home)}
        self.printed = ""
        self._changed = threading.Condition()
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=home, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        self.type(f"trap 'echo {FAILED}$BASH_COMMAND' ERR")

    def type(self, commands: str) -> None:
        self._shell.stdin.write(commands.rstrip("\n") + "\n")
        self._shell.stdin.flush()

    def finish(self, deadline: float) -> tuple[str, bool]:
        """Waits until all that was typed has ended: what it printed, and whether it did end, each command with 0."""
        self.type(f"echo {ENDED}")
        ended = self.wait(lambda: ENDED in self.printed, deadline)
        with self._changed:
            printed, _, self.printed = self.printed.partition(ENDED + "\n")
        return printed, ended and FAILED not in printed

    def wait(self, condition, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, max(0, deadline - time.monotonic()))

    def close(self) -> None:
        """Ctrl-C, and the window is closed; by force after a while."""
        self._shell.stdin.close()
        for number, patience in ((signal.SIGINT, 15), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            if self._empty(number, time.monotonic() + patience):
                return

    def _empty(self, number: int, deadline: float) -> bool:
        """Signals all processes of the shell. Whether they ended in time."""
        try:
            os.killpg(self._shell.pid, number)
            while time.monotonic() < deadline:
                self._shell.poll()
                os.killpg(self._shell.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            return True
        return False

    def _read(self) -> None:
        for line in self._shell.stdout:
            with self._changed:
                self.printed += line
                self._changed.notify_all()


ENDED = "@@ended"
FAILED = "@@failed "


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
