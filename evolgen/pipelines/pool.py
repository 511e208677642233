"""The pool of Self-Instruct: instructions that later requests see as demonstrations and must differ from.

Requests run side by side and yet the pool is the same in every run: each request puts its instructions in when all
requests before it have, and draws its demonstrations from the pool as it stood a fixed number of requests before it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from evolgen.curate.novelty import NoveltyIndex
from evolgen.errors import UsageError
from evolgen.pipelines.draft import draw_integer
from evolgen.records import Match, Seed, record_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_LAG = 8


def seen_by(number: int, lag: int) -> int:
    """How many requests had settled in the pool that a request sees: all up to the one that lies `lag` before it.

    At first the lag is smaller, so that the pool soon serves.

    >>> [seen_by(number, lag=512) for number in (0, 16, 100, 5000)], seen_by(7, lag=1)
    ([0, 1, 43, 4489], 7)
    """
    return max(0, number - min(lag, FIRST_LAG + number // 2) + 1)


class Deck:
    """Ids to draw from: each draw ranks all of them anew, so that one more or less changes few of the other draws."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._numbers = array("Q", ids)

    def add(self, id: int) -> None:
        self._numbers.append(id)

    def draw(self, count: int, key: int, among: int | None = None) -> list[int]:
        """The positions of `count` ids among the first `among`, in drawn order; fewer if there are fewer.

        >>> Deck([1, 2, 3]).draw(2, key=7), Deck([1, 2, 3]).draw(5, key=8)
        ([1, 2], [1, 2, 0])
        """
        import numpy as np

        if not (count and self._numbers):
            return []
        ranks = _mixed(np.frombuffer(self._numbers, np.uint64)[:among] ^ np.uint64(key))
        if len(ranks) <= count:
            return [int(at) for at in np.argsort(ranks, kind="stable")]
        first = np.sort(np.argpartition(ranks, count)[:count])
        return [int(at) for at in first[np.argsort(ranks[first], kind="stable")]]


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers as random as can be, the same for the same: the finalizer of SplitMix64 (Steele et al. 2014)."""
    import numpy as np

    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


class Pool:
    """Seeds and what was generated so far, for one run; `shown` tells which seeds can be demonstrations.

    A request calls `wait_for` (as `seen_by` has it), `seeds` and `generated`, then `wait_for` its own number, `find`
    and `add` for each of its instructions, and `settle`. One that can't go on calls `close`, and no later one will.
    """

    def __init__(
        self, seeds: Sequence[Seed], novelty: NoveltyIndex, *, seed: int, shown: Callable[[Seed], bool] = lambda _: True
    ) -> None:
        self._seeds = seeds
        self._novelty = novelty
        self._seed = seed
        self._shown = array("Q")
        self._seed_deck = Deck()
        self._deck = Deck()
        self._generated: list[str] = []
        self._sizes = array("Q", (0,))
        self._waiting: defaultdict[int, list[asyncio.Future[None]]] = defaultdict(list)
        self._closed: BaseException | None = None
        for position, each in enumerate(seeds):
            novelty.add(each.instruction, each.id, "seeds")
            if shown(each):
                self._shown.append(position)
                self._seed_deck.add(draw_integer(each.id, each.occurrence))
        if not self._shown:
            raise UsageError("no seed has an answer, and this style shows seeds with their answers")

    async def wait_for(self, settled: int) -> None:
        """Wait until so many requests have put their instructions in; raises what `close` was called with."""
        if self._closed is not None:
            raise self._closed
        if settled < len(self._sizes):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[settled].append(future)
        await future

    def seeds(self, number: int, count: int) -> list[Seed]:
        """Seed tasks for a request."""
        drawn = self._seed_deck.draw(count, draw_integer(self._seed, number, "seeds"))
        return [self._seeds[self._shown[at]] for at in drawn]

    def generated(self, number: int, count: int, settled: int) -> list[str]:
        """Instructions of the pool as it stood when so many requests had settled."""
        size = self._sizes[settled]
        drawn = self._deck.draw(count, draw_integer(self._seed, number, "generated"), among=size)
        return [self._generated[at] for at in drawn]

    def find(self, instruction: str) -> Match | None:
        """The seed or the instruction that one is not new beside, or None."""
        return self._novelty.find(instruction)

    def add(self, instruction: str) -> None:
        id = record_id(instruction, "")
        self._novelty.add(instruction, id, "out")
        self._deck.add(int(id, 16))
        self._generated.append(instruction)

    def settle(self) -> None:
        """The request whose turn it is has put everything in."""
        self._sizes.append(len(self._generated))
        for future in self._waiting.pop(len(self._sizes) - 1, ()):
            if not future.done():
                future.set_result(None)

    def close(self, error: BaseException) -> None:
        """A request ended without settling: whatever waits for the pool ends with the same error."""
        if self._closed is None:
            self._closed = error
            for future in (future for futures in self._waiting.values() for future in futures):
                if not future.done():
                    future.set_exception(error)
            self._waiting.clear()
