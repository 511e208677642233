"""Calls about batches that are made until they come through: a batch lives for a day, a connection doesn't."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import IO, TypeVar

from evolgen.backends.batch_api import BatchApi, BatchState
from evolgen.errors import GO_ON, Unanswered, Unreachable
from evolgen.pauses import Backoff, duration

T = TypeVar("T")


class BatchCalls:
    """As `BatchApi`; a call that fails for now is made again, and raises Unreachable after `give_up` seconds."""

    def __init__(self, api: BatchApi, backoff: Backoff, give_up: float) -> None:
        self._api = api
        self._backoff = backoff
        self._give_up = give_up

    async def begin(self, lines: IO[bytes], path: str, token: str) -> BatchState:
        """Send a file of questions and begin a batch of them, once.

        After a failed call the batch is looked up by our token, for it may have begun all the same.
        """
        file = await self._insist(lambda: self._api.upload(lines))
        tried = False

        async def create() -> BatchState:
            nonlocal tried
            if tried and (found := await self._api.find(token)) is not None:
                return found
            tried = True
            return await self._api.create(file, path, token)

        return await self._insist(create)

    async def find(self, id: str | None, token: str) -> BatchState | None:
        """A batch by its name, or by our token where that isn't known; None where the endpoint has none."""
        return await self._insist(lambda: self._api.find(token) if id is None else self._api.get(id))

    async def over(self, state: BatchState) -> BatchState:
        """How a batch ended; waits until it has."""
        poll = 0
        while not state.over:
            poll += 1
            await asyncio.sleep(self._backoff.pause(poll, None))
            state = await self.find(state.id, "") or replace(state, status="gone")
        return state

    async def download(self, file: str, into: IO[bytes]) -> None:
        """Fetch a file, whole."""
        await self._insist(lambda: self._api.download(file, into))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        began = time.monotonic()
        for attempt in itertools.count(1):
            try:
                return await call()
            except Unanswered as error:
                if time.monotonic() - began > self._give_up:
                    raise Unreachable(
                        f"the endpoint's batches could not be reached for {duration(self._give_up)} ({error}); {GO_ON}"
                    ) from error
                await asyncio.sleep(self._backoff.pause(attempt, error.retry_after))
        raise AssertionError("attempts are counted for ever")
