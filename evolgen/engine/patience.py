"""How long a teacher that is gone is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from evolgen.engine.fleet import Fleet
from evolgen.errors import GO_ON, EvolgenError, TeacherError, Unanswered, Unreachable
from evolgen.pauses import duration


class Patience:
    """Stops a run whose teacher gave no sign of life for too long, or wants to be left alone for too long.

    That is `first` seconds as long as nothing was `answered`, and `later` afterwards.
    """

    def __init__(
        self, stop: Callable[[EvolgenError], None], answered: Callable[[], bool], *, first: float, later: float
    ) -> None:
        self._stop = stop
        self._answered = answered
        self._first = min(first, later)
        self._later = later
        self._watching: dict[Fleet, asyncio.TimerHandle] = {}

    def hear(self, error: TeacherError, fleet: Fleet) -> None:
        """A call failed."""
        wait = error.retry_after if isinstance(error, Unanswered) else None
        if wait is not None and wait > self._later:
            self._stop(Unreachable(
                f"the teacher wants to be asked again in {duration(wait)} ({error}), which is later than --give-up "
                f"{duration(self._later)}; {GO_ON} then"
            ))  # fmt: skip
        self._watch(error, fleet)

    def _watch(self, error: TeacherError, fleet: Fleet) -> None:
        """Stop once a fleet has been silent for too long; look again when that may be."""
        if (timer := self._watching.pop(fleet, None)) is not None:
            timer.cancel()
        patience = self._later if self._answered() else self._first
        if fleet.silent_for >= patience and fleet.in_flight:
            return  # a call may be connected and at work on an answer: what comes of it will tell
        if fleet.silent_for >= patience:
            self._stop(Unreachable(f"the teacher gave no sign of life for {duration(patience)} ({error}); {GO_ON}"))
        elif fleet.silent_for:
            loop = asyncio.get_running_loop()
            self._watching[fleet] = loop.call_later(patience - fleet.silent_for + 0.001, self._watch, error, fleet)
