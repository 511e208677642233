"""Group commit: answers that arrive while one group is being written make up the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from evolgen.answers import Answers, Entry, Stored
from evolgen.store import GROUP


class GroupCommit:
    """Writes answers to a store from a thread of its own, so that the event loop never waits for a disk.

    A write costs one fsync however many answers it holds, so a busy run pays for few.
    """

    def __init__(self, store: Answers) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "evolgen-store")
        self._waiting: list[tuple[Entry, asyncio.Future[Stored]]] = []
        self._writing = False

    async def keep(self, answers: Sequence[Entry]) -> list[Stored]:
        """Keep answers; returns once all are durable, with what the store holds for each key.

        Raises StoreError.
        """
        futures: list[asyncio.Future[Stored]] = []
        for entry in answers:
            futures.append(asyncio.get_running_loop().create_future())
            self._waiting.append((entry, futures[-1]))
        if not self._writing:
            self._write_group()
        if len(futures) == 1:  # as for each chat, for which gathering is a tenth of the work on it
            return [await futures[0]]
        return await asyncio.gather(*futures)

    def close(self) -> None:
        """Write what is still waiting; for a run that was stopped in the middle of things."""
        self._thread.shutdown(wait=True)
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            self._store.put([entry for entry, _ in group])

    def _write_group(self) -> None:
        group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        self._writing = bool(group)
        if group:
            entries = [entry for entry, _ in group]
            written = asyncio.get_running_loop().run_in_executor(self._thread, self._store.put, entries)
            written.add_done_callback(lambda result: self._finish(group, result))

    def _finish(self, group: list[tuple[Entry, asyncio.Future[Stored]]], result: asyncio.Future[list[Stored]]) -> None:
        self._write_group()
        failure = result.exception()
        for number, (_, future) in enumerate(group):
            if future.done():
                continue  # cancelled: the answer is stored all the same
            if failure is None:
                future.set_result(result.result()[number])
            else:
                future.set_exception(failure)
