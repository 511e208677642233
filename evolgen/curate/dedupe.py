"""Finding rows that say what another row says already."""

from __future__ import annotations

import hashlib

from evolgen.parsing import fold
from evolgen.records import MATCH_TEXT, Match, Record, Seed
from evolgen.spool import Spool


class ExactIndex:
    """The instructions met so far, found again by their folded text (instruction + input).

    In memory an entry is a digest and an address, some 150 bytes whatever the text's length; what a rejection
    would quote of it lies in a spool.
    """

    def __init__(self) -> None:
        self._addresses: dict[bytes, int] = {}
        self._matches: Spool[tuple[str, str, str]] = Spool()

    def add(self, row: Record | Seed, source: str) -> None:
        """Take a row in; the first of equal rows stays the one that later rows match."""
        digest = _digest(row)
        if digest not in self._addresses:
            entry = (row.id, source, row.instruction[:MATCH_TEXT])
            self._addresses[digest] = self._matches.append(entry)

    def find(self, row: Record | Seed) -> Match | None:
        """The row that this one repeats, or None. Looks up one digest."""
        address = self._addresses.get(_digest(row))
        if address is None:
            return None
        id, source, text = self._matches[address]
        return Match(id=id, source=source, text=text, score=1.0)


def _digest(row: Record | Seed) -> bytes:
    return hashlib.blake2b(f"{fold(row.instruction)}\x1f{fold(row.input)}".encode(), digest_size=16).digest()
