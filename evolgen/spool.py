"""Values that may be too many for memory, kept in a temporary file."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

IN_MEMORY = 8 * 2**20
"""Bytes that a spool keeps in memory before it goes to disk."""

PIECE = 2**20
"""Bytes that lines are written and read in."""


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
        self._file = tempfile.TemporaryFile(buffering=PIECE)
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
        while position < len(self):
            last = position
            while last < len(self) and self._starts[last + 1] - self._starts[position] < PIECE:
                last += 1
            last = max(last, position + 1)
            self._file.seek(self._starts[position])
            piece = self._file.read(self._starts[last] - self._starts[position])
            start = self._starts[position]
            for number in range(position, last):
                yield piece[self._starts[number] - start : self._starts[number + 1] - start]
            position = last

    def close(self) -> None:
        """Give the space back."""
        self._file.close()
