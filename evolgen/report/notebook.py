"""Runs in a notebook: a bar while they go."""

from __future__ import annotations

import sys
import time
from typing import Any

from evolgen.events import Event, Planned, Working
from evolgen.report.forecast import Forecast, time_left
from evolgen.report.tally import Tally


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this program; a terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


EVERY = 0.1
"""Seconds between two drawings of a bar."""

BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
"""A bar without the time that tqdm would tell: rows come late, many at once."""


class NotebookProgress:
    """An observer that shows a bar in the notebook's own form, as far as the notebook has one."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._bar: Any = None
        self._forecast: Forecast | None = None
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        self._tally(event)
        match event:
            case Planned():
                self._forecast = Forecast(event)
                self._begin(event.stage, self._forecast.total, BAR)
            case Working(doing=doing, total=total) if self._bar is None:
                self._begin(f"{event.stage}: {doing}", total)
        if self._bar is not None:
            self._show(time.monotonic())

    def _show(self, now: float) -> None:
        """Draw the bar now and then, and at the end in any case."""
        before = self._bar.n
        self._bar.n, said = self._told(now)
        self._bar.set_postfix_str(said, refresh=False)
        if now >= self._next or self._bar.n == self._bar.total != before:
            self._next = now + EVERY
            self._bar.refresh()

    def _told(self, now: float) -> tuple[int, str]:
        """How far the work has come, as a number and in words."""
        tally, forecast = self._tally, self._forecast
        if forecast is None:
            return tally.candidates, f"{tally.accepted} accepted, {tally.rejected} rejected, {tally.requests} requests"
        forecast.heard(tally, now)
        left = time_left(forecast.seconds_left(tally, now))
        return forecast.done(tally), f"{forecast.rows(tally)}, {tally.requests} requests{left and f', {left}'}"

    def _begin(self, what: str, total: int | None, form: str | None = None) -> None:
        from tqdm.auto import tqdm

        if self._bar is not None:
            self._bar.close()
        self._tally = Tally()
        self._bar = tqdm(desc=what, total=total or None, unit=" rows", bar_format=form)
