"""A few rows of what is being made, taken from the events as they pass, for a person to look at in the end."""

from __future__ import annotations

from typing import Any

from evolgen.events import Committed, Event, Kept
from evolgen.records import Record

SHOWN = 3
"""Rows that are shown."""


class Preview:
    """An observer that keeps the first accepted rows, of a chain those of its last stage.

    Each is of another operator or another root than those before it. They are records, or the values of rows that were
    there before.
    """

    def __init__(self) -> None:
        self.rows: list[Record | Any] = []
        self._stage = ""
        self._seen: set[str] = set()

    def __call__(self, event: Event) -> None:
        match event:
            case Committed(row=row) if row.rejection is None:
                self._enter(event.stage)
                provenance = row.provenance
                if len(self.rows) < SHOWN and not self._seen >= {provenance.operator, provenance.root}:
                    self._seen |= {provenance.operator, provenance.root}
                    self.rows.append(row)
            case Kept(first=first):
                self._enter(event.stage)
                self.rows = list(first)

    def _enter(self, stage: str) -> None:
        if stage != self._stage:
            self._stage, self.rows, self._seen = stage, [], set()
