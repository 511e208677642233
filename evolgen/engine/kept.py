"""The answers of a run in its store: read and checked, put there, and what was paid for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from evolgen.answers import Answers, Entry, Payment
from evolgen.engine.budget import Spent
from evolgen.engine.keep import GroupCommit

R = TypeVar("R")


class Damaged(ValueError):
    """A stored answer is none: it may be asked for again, and what comes takes its place."""


class KeptAnswers:
    """The store as a run sees it; `output` stands for what it pays for, see `answers.output_digest`.

    `spent` are the tokens and dollars that earlier runs paid for that.
    """

    def __init__(self, store: Answers, output: str | None) -> None:
        self.spent = (0.0, 0.0) if output is None else store.spent(output)
        self._store = store
        self._keeper = GroupCommit(store)
        self._output = output
        self._started = time.time()
        self._damaged: dict[bytes, str] = {}

    def get(self, key: bytes, read: Callable[[str], R]) -> tuple[R, float, float | None] | None:
        """An answer, when it was stored, and what it cost then: nothing where this run has paid and counted it.

        Raises Damaged where `read` raises ValueError.
        """
        stored = self._store.get(key)
        if stored is None:
            return None
        try:
            answer = read(stored.answer)
        except ValueError as error:
            self._damaged[key] = stored.answer
            raise Damaged(str(error)) from error
        return answer, stored.created, stored.usd if stored.created < self._started else 0.0

    async def put(self, answers: Sequence[tuple[bytes, str]], spent: Spent) -> list[str]:
        """Store what one call brought, once it is durable; returns what the store holds for each key."""
        paid = Payment(self._output, spent.tokens, spent.usd)
        entries = []
        for key, answer in answers:
            entries.append(Entry(key, answer, paid, self._damaged.pop(key, None)))
            paid = Payment(self._output, 0.0, 0.0)  # the first of many stands for the whole call
        return [stored.answer for stored in await self._keeper.keep(entries)]

    def close(self) -> None:
        """Store what came last."""
        self._keeper.close()
