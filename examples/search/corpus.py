"""The text and its index, loaded when this module is imported and never changed after.

They are a few flat buffers, not objects: reading an object writes its reference count, and a page that was written is no longer
shared. What 20 instances hold of these buffers is one copy; of half a million small objects it would soon be twenty.

    TEXT       all files, one after the other
    STARTS     where each begins in TEXT, and the end of the last
    LINES      where each line begins in TEXT
    WORDS      every word, in order
    LISTS      where each word's list begins in DOCUMENTS and COUNTS, and the end of the last
    DOCUMENTS  for each word the numbers of the files that have it, rising
    COUNTS     how often each of those has it, up to 255
    FILES      what each file is called
"""

import json
import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from pathlib import Path

INDEX = Path(__file__).with_name("index")
CHUNK = 1 << 20


class Packed:
    """A sequence of byte strings in one buffer."""

    def __init__(self, data, ends):
        self._data = data
        self._ends = ends

    def __len__(self):
        return len(self._ends)

    def __getitem__(self, at):
        begin = self._ends[at - 1] if at else 0
        return bytes(self._data[begin : self._ends[at]])


def unpack(name):
    """A buffer of index/, whole in memory once and not twice."""
    size = SIZES[name]
    data, at, stream = bytearray(size), 0, zlib.decompressobj()
    with (INDEX / f"{name}.z").open("rb") as file:
        while part := stream.decompress(file.read(CHUNK)):
            data[at : at + len(part)] = part
            at += len(part)
    if at != size or not stream.eof:
        raise ValueError(f"index/{name}.z has {at} bytes, not {size}: run ./build again")
    return data


def numbers(name, kind):
    values = array(kind)
    values.frombytes(unpack(name))
    if sys.byteorder == "big":
        values.byteswap()
    return values


def line_of(document, offset):
    """The number of the line that this byte of TEXT is in, from 1, and where it begins and ends."""
    at = bisect_right(LINES, offset) - 1
    end = LINES[at + 1] if at + 1 < len(LINES) else len(TEXT)
    return at - bisect_left(LINES, STARTS[document]) + 1, LINES[at], end


def span(document):
    """Where a file begins and ends in TEXT."""
    return STARTS[document], STARTS[document + 1]


def document_at(offset):
    """The number of the file that this byte of TEXT belongs to."""
    return bisect_right(STARTS, offset) - 1


SIZES = {name: about["bytes"] for name, about in json.loads((INDEX / "index.json").read_text())["buffers"].items()}
TEXT = unpack("text")
STARTS = numbers("starts", "I")
LINES = numbers("lines", "I")
WORDS = Packed(unpack("words"), numbers("word_ends", "I"))
FILES = Packed(unpack("names"), numbers("name_ends", "I"))
LISTS = numbers("lists", "I")
DOCUMENTS = numbers("documents", "I")
COUNTS = unpack("counts")
