"""Questions that are answered in batches: who waits for each, and whether it was sent."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import IO

from evolgen.answers import Batch, Entry
from evolgen.asking import Answer, Request, read_stored
from evolgen.backends import Response
from evolgen.backends.batch_lines import read_lines
from evolgen.errors import Interrupted, TeacherError
from evolgen.store import GROUP, Store

LOOK_EVERY = 0.005
"""Seconds between looks at whether an answer is stored."""


class Inbox:
    """Questions by their keys. Those `unsent` wait for the next batch, those `sent` are in one, asked for or not.

    `moves` grows with whatever happens to a question, and `moved` is set when one has to be sent.
    """

    def __init__(self, store: Store) -> None:
        self.unsent: list[bytes] = []
        self.sent: set[bytes] = set()
        self.moves = 0
        self.moved = asyncio.Event()
        self._store = store
        self._told: set[bytes] = set()
        self._waiting: dict[bytes, tuple[Request, asyncio.Future[Response]]] = {}

    def wait_for(self, key: bytes, request: Request) -> asyncio.Future[Response]:
        """The answer to come; the question is sent if it isn't yet."""
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[key] = (request, future)
        if key not in self.sent:
            self._to_be_sent([key])
        return future

    def request(self, key: bytes) -> Request:
        """The question of a key that somebody waits for."""
        return self._waiting[key][0]

    def send_again(self, keys: Iterable[bytes]) -> None:
        """Nothing came of these: they go out with the next batch, as far as somebody waits for them."""
        keys = list(keys)
        self.sent.difference_update(keys)
        self._to_be_sent([key for key in keys if key in self._waiting])

    def stored(self, key: bytes) -> Response | None:
        """The answer that the store holds; None for one that is damaged, too."""
        stored = self._store.get(key)
        if stored is None:
            return None
        try:
            response: Response = read_stored(stored.answer)
            Answer.read(key, "", response)
        except ValueError:
            return None
        return response

    @property
    def settled(self) -> bool:
        """Whether all answers that came are on disk: whoever is told one stores it, with what was paid for it."""
        self._told = {key for key in self._told if self._store.get(key) is None}
        return not self._told

    async def settle(self) -> None:
        """Wait until `settled`."""
        while not self.settled:  # noqa: ASYNC110 - whoever stores them knows nothing of batches
            await asyncio.sleep(LOOK_EVERY)

    async def take_in(self, file: IO[bytes], batch: Batch) -> int:
        """Receive the outcomes in a batch's output or error file; returns how many answers there were."""
        answered = 0
        keys, form = set(batch.keys), {"form": json.loads(batch.form)}
        lines = ((key, outcome) for key, outcome in read_lines(file, form) if key in keys)
        while group := list(itertools.islice(lines, GROUP)):
            answered += await self.receive(group)
        return answered

    async def receive(self, outcomes: Sequence[tuple[bytes, Response | TeacherError]]) -> int:
        """Tell whoever waits what came, and store what nobody waits for; returns how many answers there were."""
        await self.settle()  # so that no more is on its way at once
        answers = {key: outcome for key, outcome in outcomes if not isinstance(outcome, TeacherError)}
        if unasked := [Entry(key, json.dumps(answer)) for key, answer in answers.items() if not self._waiter(key)]:
            await asyncio.to_thread(self._store.put, unasked)
        for key, outcome in (dict(outcomes) | answers).items():
            self.sent.discard(key)
            future = self._waiter(key)
            self._waiting.pop(key, None)
            if future is None:
                continue
            if isinstance(outcome, TeacherError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
                self._told.add(key)
        self.moves += 1
        return len(answers)

    def close(self, error: BaseException) -> None:
        """Tell the first of those that wait what happened, and the others that it is over."""
        for key in list(self._waiting):
            if (future := self._waiter(key)) is not None:
                future.set_exception(error)
                error = Interrupted("the run is stopping")
        self._waiting.clear()

    def _to_be_sent(self, keys: list[bytes]) -> None:
        self.unsent += keys
        self.moves += 1
        self.moved.set()

    def _waiter(self, key: bytes) -> asyncio.Future[Response] | None:
        """Who waits for an answer."""
        _, future = self._waiting.get(key, (None, None))
        return None if future is None or future.done() else future
