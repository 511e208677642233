"""Runs in a notebook: a bar while they go."""

from __future__ import annotations

import sys
from typing import Any

from evolgen.events import Event, Planned, Working
from evolgen.report.tally import Tally


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this program; a terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class NotebookProgress:
    """An observer that shows a bar in the notebook's own form, as far as the notebook has one."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._bar: Any = None
        self._rows: int | None = None

    def __call__(self, event: Event) -> None:
        self._tally(event)
        match event:
            case Planned(candidates=candidates, rows=rows):
                self._begin(event.stage, rows or candidates)
                self._rows = rows
            case Working(doing=doing, total=total) if self._bar is None:
                self._begin(f"{event.stage}: {doing}", total)
        if self._bar is not None:
            tally = self._tally
            self._bar.n = tally.accepted if self._rows else tally.candidates
            self._bar.set_postfix_str(
                f"{tally.accepted} accepted, {tally.rejected} rejected, {tally.requests} requests", refresh=False
            )
            self._bar.update(0)

    def _begin(self, what: str, total: int | None) -> None:
        from tqdm.auto import tqdm

        if self._bar is not None:
            self._bar.close()
        self._tally = Tally()
        self._bar = tqdm(desc=what, total=total or None, unit=" rows")
