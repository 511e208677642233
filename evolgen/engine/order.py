"""Lineages run side by side and come out in order.

Nobody waits for a stalled head: lineages that finish ahead of it are parked, the first few in memory and the
rest on disk, so that the window bounds memory and not progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from evolgen.spool import Spool

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 256
"""Finished lineages held in memory while they wait for their turn."""


class Parked(Generic[R]):
    """Results that wait for their turn, by position."""

    def __init__(self) -> None:
        self._near: dict[int, R] = {}
        self._far: dict[int, int] = {}
        self._spool: Spool[R] = Spool()

    def __setitem__(self, position: int, result: R) -> None:
        if len(self._near) < WINDOW:
            self._near[position] = result
        else:
            self._far[position] = self._spool.append(result)

    def __contains__(self, position: int) -> bool:
        return position in self._near or position in self._far

    def pop(self, position: int) -> R:
        if position in self._near:
            return self._near.pop(position)
        result = self._spool[self._far.pop(position)]
        if not self._far:
            self._spool.clear()
        return result


async def in_order(
    lineages: Iterator[T],
    work: Callable[[int, T], Awaitable[R]],
    *,
    width: int,
    may_start: Callable[[int], bool],
    finished: Callable[[R], None] = lambda result: None,
) -> AsyncGenerator[R, None]:
    """Run `work(position, lineage)` on up to `width` lineages at once; yield the results in order of position.

    A further lineage starts when `may_start(running)` allows it; with none running it is asked a last time, and
    a no ends the iteration. `finished` hears of each result as it comes, out of order. An exception in `work`
    ends everything and is raised here.
    """
    running: dict[asyncio.Task[R], int] = {}
    done: asyncio.Queue[asyncio.Task[R]] = asyncio.Queue()
    parked: Parked[R] = Parked()
    started = head = 0
    exhausted = False
    try:
        while True:
            while not exhausted and len(running) < width and may_start(len(running)):
                try:
                    lineage = next(lineages)
                except StopIteration:
                    exhausted = True
                    break
                task = asyncio.ensure_future(work(started, lineage))
                running[task] = started
                task.add_done_callback(done.put_nowait)
                started += 1
            if not running:
                return
            task = await done.get()
            result = task.result()
            parked[running.pop(task)] = result
            finished(result)
            while head in parked:
                yield parked.pop(head)
                head += 1
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
