"""Values that may be too many for memory, kept in a temporary file."""

from __future__ import annotations

import pickle
import tempfile
from typing import Generic, TypeVar

T = TypeVar("T")

IN_MEMORY = 8 * 2**20
"""Bytes that a spool keeps in memory before it goes to disk."""


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
