"""The source of a commit: kept once, as a packed tar, and unpacked by whoever works on it."""

import io
import tarfile
import tempfile
from contextlib import contextmanager

import evoke


def keep(commit: str, packed: bytes) -> None:
    evoke.kv.namespace("sources").put_bytes(commit, packed, ttl="90d")


def load(commit: str) -> bytes:
    packed = evoke.kv.namespace("sources").get_bytes(commit)
    if packed is None:
        raise LookupError(f"the source of {commit} is not kept any more: push it again")
    return packed


@contextmanager
def unpacked(packed: bytes):
    """A folder with the files, which goes when the block ends."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")  # Nothing may land outside of the folder.
        yield folder
