"""Generating rows: lineages go in, rows come out in order, until the work is done or is stopped."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from evolgen.asking import Answer, Ask, Request
from evolgen.engine.ask import Asker, Halt
from evolgen.engine.commit import DRY_WINDOW, Committer
from evolgen.engine.ending import DONE
from evolgen.engine.order import in_order
from evolgen.errors import Stopped, TargetUnreachable
from evolgen.records import Record

T = TypeVar("T")

WIDTH_PER_SLOT = 2
"""Lineages open for each call in flight: enough that a free slot always finds a question waiting."""


@dataclass(frozen=True)
class Lineage:
    """What came of one visit: its rows so far, and whether it went to its end."""

    rows: list[Record]
    whole: bool

    @property
    def accepted(self) -> int:
        return sum(row.rejection is None for row in self.rows)


@dataclass
class Forecast:
    """How many rows to expect of what is under way, so that a run for N rows starts little that it won't need."""

    rows_at_best: int
    finished: int = 0
    accepted: int = 0
    parked: int = 0

    def heard(self, lineage: Lineage) -> None:
        self.finished += 1
        self.accepted += lineage.accepted
        self.parked += lineage.accepted

    def committed(self, lineage: Lineage) -> None:
        self.parked -= lineage.accepted

    def expects(self, running: int) -> float:
        """Rows to come from finished and running lineages; optimistic until a few have finished."""
        prior = 4
        rows_each = (self.accepted + prior * self.rows_at_best) / (self.finished + prior)
        return self.parked + running * rows_each


class Generation(Generic[T]):
    """Runs a pipeline over its visits.

    `rows_at_best` is how many rows one visit can give, `width` how many lineages may be open at once. `remedy` says
    what to change where these rules, the most frequent first, leave hardly any row. `delivered` counts the answers
    that lineages were given.
    """

    def __init__(
        self,
        pipeline: Callable[[T, Ask], AsyncIterator[Record]],
        asker: Asker,
        committer: Committer,
        *,
        width: int,
        target: int | None,
        rows_at_best: int,
        remedy: Callable[[Iterable[str]], str],
    ) -> None:
        self.delivered = 0
        self._pipeline = pipeline
        self._asker = asker
        self._committer = committer
        self._width = width
        self._remedy = remedy
        self._target = target
        self._forecast = Forecast(rows_at_best)
        self._broken = False  # a lineage was left unfinished: what comes after it waits for the next run

    async def run(self, visits: Iterator[T]) -> None:
        """Run to the end, or until the asker ends; then `asker.ending` says why."""
        lineages = in_order(
            visits, self._follow, width=self._width, may_start=self._may_start, finished=self._forecast.heard
        )
        async with contextlib.aclosing(lineages):
            async for lineage in lineages:
                self._forecast.committed(lineage)
                self._commit(lineage)

    def _commit(self, lineage: Lineage) -> None:
        ending = self._asker.ending
        self._broken |= not (lineage.whole or (ending is not None and ending.publish))
        if self._committer.done or self._broken:
            return
        try:
            self._committer.commit(lineage.rows)
        except Stopped as failure:  # the output's disk failed: nothing more can be written
            self._asker.stop(failure)
            return
        if self._committer.done:
            self._asker.end(DONE)
        elif self._target is not None and self._committer.dry:
            self._asker.stop(self._out_of_reach())

    def _out_of_reach(self) -> TargetUnreachable:
        fates = self._committer.recent_yield().most_common()
        return TargetUnreachable(
            f"-n {self._target} can't be reached: {self._committer.accepted} rows are there, and the last {DRY_WINDOW} "
            f"candidates gave {', '.join(f'{fate} {count}' for fate, count in fates)}; "
            + self._remedy(fate for fate, _ in fates)
        )

    def _may_start(self, running: int) -> bool:
        if self._asker.ending is not None:
            return False
        if self._target is None or running == 0:
            return True
        return self._committer.accepted + self._forecast.expects(running) < self._target

    async def _follow(self, position: int, visit: T) -> Lineage:
        """Run one lineage as far as it goes."""
        rows: list[Record] = []

        async def ask(request: Request) -> Answer:
            answer = await self._asker.ask(position, request)
            self.delivered += 1
            return answer

        try:
            async for row in self._pipeline(visit, ask):
                rows.append(row)
        except Halt:
            return Lineage(rows, whole=False)
        return Lineage(rows, whole=True)
