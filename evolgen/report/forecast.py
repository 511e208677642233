"""How long the rest takes, told from what came so far. Nothing here looks at a clock: the time is an argument."""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

from evolgen.events import Planned
from evolgen.pauses import duration
from evolgen.report.tally import Tally

WARM_SECONDS = 2.0
"""How long something goes on until a time is told for it."""

WARM_COUNT = 10
"""And how much of it is done by then."""

LEAST_PAID = 0.05
"""The share that took time, below which nobody can tell: what comes from the store will go on, or end."""

EVERY = 0.25
"""Seconds between two marks, at first."""

MARKS = 256
"""Marks at the most; then every second one goes, and they are made half as often."""

STEEPEST = 2.0
"""The power of what is done by which its time grows at the most: each is compared with all before it."""


class Mark(NamedTuple):
    """How far something had come at a time."""

    at: float
    done: int
    free: int

    @property
    def paid(self) -> int:
        return self.done - self.free


class Pace:
    """How fast something goes: over the last half of its time, so that a slow start is soon forgotten.

    Part of what is done may have been `free`, as answers from the store are: it took no time, and what is to come may
    be other. So the time counts from where nothing more came free, and anew after a burst, where much more came free
    at once than ever before, and more than in the whole half before it: less makes a forecast too short by half.
    """

    def __init__(self) -> None:
        self._marks: list[Mark] = []
        self._every = EVERY
        self._burst = 0  # the largest so far

    def heard(self, now: float, done: int, free: int = 0) -> None:
        """So much is done by now, of which so much was free."""
        marks, mark = self._marks, Mark(now, done, free)
        if not marks or not mark.paid:
            if not marks or free > marks[-1].free:
                marks[:], self._burst = [mark], free
            return
        last = marks[-1]
        if now < last.at + self._every or mark.paid == last.paid:
            return
        burst = free - last.free
        if burst > max(2 * self._burst, last.done - self._half(last.at).done):
            marks.clear()
        self._burst = max(self._burst, burst)
        marks.append(mark)
        if len(marks) > MARKS:
            del marks[1::2]
            self._every *= 2

    def seconds_for(self, more: float, now: float) -> float | None:
        """How long so much more takes; None until it can be told."""
        if not self._marks:
            return None
        first, last, half = self._marks[0], self._marks[-1], self._half(now)
        warm = now - first.at >= WARM_SECONDS and last.paid - first.paid >= WARM_COUNT
        done, paid = last.done - half.done, last.paid - half.paid
        return more * (now - half.at) / done if warm and done and paid >= LEAST_PAID * done else None

    def seconds_to(self, total: int, now: float) -> float | None:
        """How long it takes to the end, where each may take longer than the one before, as rows that are compared do.

        If the time grows as a power of what is done, the power shows in how much was done when half the time was gone.
        """
        if not self._marks:
            return None
        first, last, half = self._marks[0], self._marks[-1], self._half(now)
        even = self.seconds_for(total - last.done, now)
        if even is None or not half.done:
            return even
        power = min(STEEPEST, math.log(2) / math.log(last.done / half.done))
        return max(even, (now - first.at) * (math.pow(total / last.done, power) - 1))

    def _half(self, now: float) -> Mark:
        """The mark at which the last half begins."""
        middle = (self._marks[0].at + now) / 2
        return self._marks[bisect.bisect_right(self._marks, middle, key=lambda mark: mark.at) - 1]


class Forecast:
    """How much a run has still to do, in rows, in answers and in seconds.

    Rows have their place late, whole lineages at once, so what is counted is answers: what a row of those that have
    their place needed, times the rows that are to come, less the answers that are there. Before the first such row
    nothing is told.
    """

    def __init__(self, plan: Planned) -> None:
        self.total = plan.rows or plan.candidates
        self.wanted = plan.rows is not None
        self._pace = Pace()

    def heard(self, tally: Tally, now: float) -> None:
        """The tally stands so by now."""
        self._pace.heard(now, tally.answers + tally.replayed, tally.replayed)

    def done(self, tally: Tally) -> int:
        """Rows that count: accepted ones where a number of them is wanted, else all but unusable rows of the input."""
        return tally.accepted if self.wanted else tally.candidates - tally.by_stage["input"]

    def rows(self, tally: Tally) -> str:
        """The rows so far, in words."""
        answers = tally.answers + tally.replayed
        if answers and tally.candidates == tally.by_stage["input"]:
            return f"{answers:,} answer{'s'[: answers > 1]}; the first row comes when its lineage ends"
        return f"{tally.accepted:,} accepted, {tally.rejected:,} rejected"

    def answers_left(self, tally: Tally) -> float | None:
        """Answers that are still to come; None until a row tells how many it needs."""
        done = self.done(tally)
        needed = tally.used / done * self.total if done else None
        return None if needed is None else max(0.0, needed - tally.answers - tally.replayed)

    def seconds_left(self, tally: Tally, now: float) -> float | None:
        """None until it can be told, and when the last answer is there."""
        left = self.answers_left(tally)
        return self._pace.seconds_for(left, now) if left else None


def time_left(seconds: float | None) -> str:
    """A time left in words, rounded; nothing where it isn't known.

    >>> time_left(0.4), time_left(75.0), time_left(4000.0), time_left(None)
    ('1 s left', '75 s left', '67 min left', '')
    """
    return "" if seconds is None else f"{duration(max(1, math.ceil(seconds)))} left"
