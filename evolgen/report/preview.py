"""A few rows of what is being made, taken from the events as they pass, for a person to look at in the end."""

from __future__ import annotations

from typing import Any

from evolgen.events import Committed, Event, Kept, Notice
from evolgen.records import Record

SHOWN = 3
"""Rows that are shown."""


class Preview:
    """An observer that keeps the first accepted rows, of a chain those of its last stage.

    Each is of another operator or another root than those before it, and seeds are shown only where nothing grew. They
    are records, or the values of rows that were there before.
    """

    def __init__(self) -> None:
        self._stage = ""
        self._begin()

    def _begin(self, *, grown: bool = False) -> None:
        self.rows: list[Record | Any] = []
        self._seen: set[str] = set()
        self._grown = grown

    def __call__(self, event: Event) -> None:
        if event.stage != self._stage and not isinstance(event, Notice):  # a chain gives notice between its stages
            self._stage = event.stage
            self._begin()
        match event:
            case Committed(row=row) if row.rejection is None:
                self._see(row)
            case Kept(first=first):
                self.rows = list(first)

    def _see(self, row: Record) -> None:
        provenance = row.provenance
        if provenance.round and not self._grown:
            self._begin(grown=True)
        of_interest = bool(provenance.round) == self._grown
        if of_interest and len(self.rows) < SHOWN and not self._seen >= {provenance.operator, provenance.root}:
            self._seen |= {provenance.operator, provenance.root}
            self.rows.append(row)
