"""A disk under the server's data directory that forgets what was not synced, fails, or is full.

The shim (crates/evoke-store/tests/power/shim.c) notes in the server how each change is undone until it is synced. After a
`kill -9` what is left of the notes is carried out here: that is the power cut. The server's program must be linked dynamically.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIM = ROOT / "crates/evoke-store/tests/power/shim.c"
SECTOR = 512


def compile(source: Path, to: Path) -> Path:
    """Builds a shared library to be preloaded."""
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", to, source, "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return to


class Disk:
    """The directory `data`; the notes are in a directory beside it, on the same file system."""

    def __init__(self, data: Path):
        self.data = data
        self.notes = data.with_name("notes")
        self.shim = compile(SHIM, data.with_name("power.so"))
        data.mkdir(exist_ok=True)

    def environment(self, **settings: str) -> dict[str, str]:
        """Of a server on this disk from now on: `sync` and `write` as the shim has them."""
        shutil.rmtree(self.notes, ignore_errors=True)
        self.notes.mkdir()
        return {
            "LD_PRELOAD": str(self.shim),
            "EVOKE_POWER_DIR": str(self.data),
            "EVOKE_POWER_SKIP": str(self.data / "workers"),
            "EVOKE_POWER_LOG": str(self.notes),
        } | {f"EVOKE_POWER_{name.upper()}": value for name, value in settings.items()}

    def free_space(self) -> None:
        """Ends what `write="full:N"` began."""
        (self.notes / "space").touch()

    def cut_power(self, rng: random.Random | None = None) -> int:
        """Undoes what was not synced, newest first: all of it, or with `rng` about half of the sectors. How many notes
        there were."""
        numbers = sorted((int(note.name) for note in self.notes.iterdir() if note.name.isdigit()), reverse=True)
        for number in numbers:
            self._undo(number, rng)
        (self.data / "evoke.db-shm").unlink(missing_ok=True)  # Memory of a process that is gone.
        return len(numbers)

    def _undo(self, number: int, rng: random.Random | None) -> None:
        head, end, content = (self.notes / str(number)).read_bytes().partition(b"\n")
        fields = head.decode().split(" ")
        if not end or len(content) < int(fields[5]):
            return  # Killed while the note was written: the change was not made.
        kind, device, inode, offset, size, _ = fields
        if kind == "w":
            with (self.notes / f"inode-{device}-{inode}").open("r+b") as file:
                write_back(file, content, int(offset), int(size), rng)
            return
        path = Path(os.fsdecode(content.split(b"\n")[0]))
        if path.is_dir():
            shutil.rmtree(path)
        elif kind != "u":
            path.unlink(missing_ok=True)
        kept = self.notes / f"kept-{number}"
        if kept.exists() and path.parent.is_dir() and not path.exists():
            os.link(kept, path)


def write_back(file, content: bytes, offset: int, size: int, rng: random.Random | None) -> None:
    if rng is None:
        os.pwrite(file.fileno(), content, offset)
        os.ftruncate(file.fileno(), size)
        return
    for at in range(0, len(content), SECTOR):
        if rng.random() < 0.5:
            os.pwrite(file.fileno(), content[at : at + SECTOR], offset + at)
    if rng.random() < 0.5:
        os.ftruncate(file.fileno(), size)
