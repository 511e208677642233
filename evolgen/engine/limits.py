"""Who may call now, and how long to wait before calling again."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class Slots:
    """A limit on calls in flight that gives a free slot to the lowest commit position first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    @asynccontextmanager
    async def slot(self, position: int) -> AsyncIterator[None]:
        """Hold a slot; among those that wait, the lowest position comes first, then the first to come."""
        if self._free:
            self._free -= 1
        else:
            await self._queue(position)
        try:
            yield
        finally:
            self._release()

    async def _queue(self, position: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (position, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the slot came together with the cancellation
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts, in seconds: `first`, doubling up to `most`, each varied by half either way.

    An endpoint's own Retry-After is a floor. `patience` is how long a teacher may give no sign of life before
    the run stops.
    """

    first: float = 0.5
    most: float = 30.0
    patience: float = 60.0
    jitter: random.Random = field(default_factory=random.Random)

    def pause(self, attempt: int, floor: float | None) -> float:
        """How long to wait after a failed attempt (the first is 1)."""
        usual = min(self.most, self.first * 2.0 ** min(attempt - 1, 30)) * self.jitter.uniform(0.5, 1.5)
        return usual if floor is None else max(usual, floor + self.first * self.jitter.random())
