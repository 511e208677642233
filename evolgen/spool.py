"""Values that may be too many for memory, kept in a temporary file."""

from __future__ import annotations

import itertools
import pickle
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

IN_MEMORY = 8 * 2**20
"""Bytes that a spool keeps in memory before it goes to disk."""

PIECE = 2**20
"""Bytes that lines are read in, one after the other."""

BUFFER = 2**16
"""Bytes that are written at once; a single line that is looked up costs as much."""


class Spool(Generic[T]):
    """An append-only list of values, held outside memory; what is kept of each is an integer, its address.

    The file belongs to this process alone and vanishes with it, so pickle is safe to use.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)
        self._end = 0

    def append(self, value: T) -> int:
        """Keep a value; returns its address."""
        address = self._end
        self._file.seek(address)
        self._file.write(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
        self._end = self._file.tell()
        return address

    def __getitem__(self, address: int) -> T:
        self._file.seek(address)
        value: T = pickle.load(self._file)
        return value

    def clear(self) -> None:
        """Forget everything and give the space back."""
        self._file.seek(0)
        self._file.truncate()
        self._end = 0


class Lines:
    """An append-only list of byte strings, held outside memory: fast to write and to read in order.

    Memory is 8 bytes for each.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=BUFFER)
        self._starts = array("q", (0,))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, value: bytes) -> None:
        self._file.write(value)
        self._starts.append(self._starts[-1] + len(value))

    def __getitem__(self, position: int) -> bytes:
        self._file.seek(self._starts[position])
        return bytes(self._file.read(self._starts[position + 1] - self._starts[position]))

    def after(self, position: int) -> Iterator[bytes]:
        """All values from a position on, in order; looking up others meanwhile is fine."""
        starts = self._starts
        while position < len(self):
            begin = starts[position]
            last = min(max(bisect_right(starts, begin + PIECE) - 1, position + 1), len(self))
            self._file.seek(begin)
            piece = self._file.read(starts[last] - begin)
            for here, there in itertools.pairwise(starts[position : last + 1]):
                yield piece[here - begin : there - begin]
            position = last

    def close(self) -> None:
        """Give the space back."""
        self._file.close()
