"""Questions that are answered in batches: who waits for each, and whether it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

from evolgen.answers import Entry
from evolgen.asking import Request
from evolgen.backends import Response
from evolgen.backends.openai_http import checked
from evolgen.errors import Interrupted, TeacherError
from evolgen.store import Store


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

    async def receive(self, outcomes: Sequence[tuple[bytes, object]], form: dict[str, Any]) -> int:
        """Store the answers among some outcomes and tell whoever waits; returns how many answers there were."""
        answers: dict[bytes, Response] = {}
        errors: dict[bytes, TeacherError] = {}
        for key, outcome in outcomes:
            try:
                if isinstance(outcome, TeacherError):
                    raise outcome
                answers[key] = checked(outcome) | {"form": form}
            except TeacherError as error:
                errors[key] = error
        if answers:
            await asyncio.to_thread(
                self._store.put, [Entry(key, json.dumps(answer)) for key, answer in answers.items()]
            )
        for key, answer in answers.items():
            if (future := self._waiter(key)) is not None:
                future.set_result(answer)
        for key, failure in errors.items():
            if (future := self._waiter(key)) is not None:
                future.set_exception(failure)
        self.moves += 1
        return len(answers)

    def close(self, error: BaseException) -> None:
        """Tell the first of those that wait what happened, and the others that it is over."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                error = Interrupted("the run is stopping")
        self._waiting.clear()

    def _to_be_sent(self, keys: list[bytes]) -> None:
        self.unsent += keys
        self.moves += 1
        self.moved.set()

    def _waiter(self, key: bytes) -> asyncio.Future[Response] | None:
        """Who waits for a question whose outcome is here."""
        self.sent.discard(key)
        _, future = self._waiting.pop(key, (None, None))
        return None if future is None or future.done() else future
