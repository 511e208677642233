"""OpenAI's files and batches at one endpoint: what each call sends and what its answer means."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import IO, TYPE_CHECKING, Any, TypeVar

from evolgen.backends.batch_state import BatchState, read_state, table
from evolgen.backends.connection import Connection
from evolgen.errors import GO_ON, Denied, Unanswered, Unreachable
from evolgen.pauses import Backoff, duration

if TYPE_CHECKING:
    import openai
    from openai.resources.batches import AsyncBatchesWithRawResponse

T = TypeVar("T")

TOKEN = "evolgen"
"""The name under which our token goes along with a batch, in its metadata."""

MOVING = 3600.0
"""Seconds that a file may take on its way."""


class BatchApi:
    """Files and batches over one connection; every method raises TeacherError as a question would.

    With a `backoff` a call that fails for now is made again, for a batch lives for a day and a connection doesn't;
    Unreachable is raised after `give_up` seconds of that.
    """

    def __init__(self, connection: Connection, backoff: Backoff | None = None, give_up: float = 0.0) -> None:
        self._connection = connection
        self._backoff = backoff
        self._give_up = give_up

    async def begin(self, lines: IO[bytes], path: str, token: str) -> BatchState:
        """Send a file of questions and begin a batch of them, once.

        After a failed call the batch is looked up by our token, for it may have begun all the same.
        """
        file = await self._insist(lambda: self._upload(lines))
        endpoint: Any = f"/v1{path}"
        tried = False

        async def create() -> BatchState:
            nonlocal tried
            if tried and (found := await self._listed(token)) is not None:
                return found
            tried = True
            return await self._state(
                lambda batches: batches.create(
                    input_file_id=file, endpoint=endpoint, completion_window="24h", metadata={TOKEN: token}
                )
            )

        return await self._insist(create)

    async def find(self, id: str | None, token: str) -> BatchState | None:
        """A batch by its name, or by our token where that isn't known; None where the endpoint has none."""
        return await self._insist(lambda: self._listed(token) if id is None else self._get(id))

    async def cancel(self, id: str) -> BatchState:
        """Have a batch end early; what it has answered by then can still be had."""
        return await self._state(lambda batches: batches.cancel(id))

    async def download(self, file: str, into: IO[bytes]) -> None:
        """Fetch a file; `into` holds it, and nothing else, afterwards."""

        async def fetch(client: openai.AsyncOpenAI) -> None:
            into.seek(0)
            into.truncate()
            async with client.files.with_streaming_response.content(file, timeout=MOVING) as response:
                async for piece in response.iter_bytes():
                    into.write(piece)
            into.seek(0)

        await self._insist(lambda: self._connection.call(fetch, MOVING))

    async def _upload(self, lines: IO[bytes]) -> str:
        lines.seek(0)
        said = await self._told(
            lambda client: client.files.with_raw_response.create(
                file=("evolgen.jsonl", lines), purpose="batch", timeout=MOVING
            ),
            MOVING,
        )
        name = table(said).get("id")
        if not isinstance(name, str) or not name:
            raise Unanswered("malformed", "the endpoint gave an uploaded file no name")
        return name

    async def _get(self, id: str) -> BatchState | None:
        try:
            return await self._state(lambda batches: batches.retrieve(id))
        except Denied as error:
            if error.status != 404:
                raise
            return None

    async def _listed(self, token: str) -> BatchState | None:
        """The batch that our token went along with, if there is one."""
        seen: list[str] = []
        while True:
            page = table(await self._page({"after": seen[-1]} if seen else {}))
            entries = page.get("data")
            if not isinstance(entries, list):
                raise Unanswered("malformed", "the endpoint's list of batches can't be read")
            for entry in entries:
                if table(table(entry).get("metadata")).get(TOKEN) == token:
                    return read_state(entry)
            last = table(entries[-1]).get("id") if entries and page.get("has_more") else None
            if not isinstance(last, str) or last in seen:
                return None
            seen.append(last)

    async def _page(self, after: dict[str, Any]) -> object:
        return await self._told(lambda client: client.batches.with_raw_response.list(limit=100, **after))

    async def _state(self, call: Callable[[AsyncBatchesWithRawResponse], Awaitable[Any]]) -> BatchState:
        return read_state(await self._told(lambda client: call(client.batches.with_raw_response)))

    async def _told(self, call: Callable[[openai.AsyncOpenAI], Awaitable[Any]], timeout: float | None = None) -> object:
        """What the endpoint says to a call, as it stands.

        The client's models would take nearly anything, but not its lists: of a page that is none they make an
        AttributeError or, worse, an empty list.
        """

        async def send(client: openai.AsyncOpenAI) -> object:
            said: object = (await call(client)).http_response.json()
            return said

        return await self._connection.call(send, timeout)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        began = time.monotonic()
        for attempt in itertools.count(1):
            try:
                return await call()
            except Unanswered as error:
                if self._backoff is None:
                    raise
                if time.monotonic() - began > self._give_up:
                    raise Unreachable(
                        f"the endpoint's batches could not be reached for {duration(self._give_up)} ({error}); {GO_ON}"
                    ) from error
                await asyncio.sleep(self._backoff.pause(attempt, error.retry_after))
        raise AssertionError("attempts are counted for ever")
