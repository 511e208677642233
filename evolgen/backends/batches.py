"""A teacher that answers in batches: cheaper, and some hours later."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import IO, Any

from evolgen.answers import Batch
from evolgen.asking import Request
from evolgen.backends import Embeddings, Identity, Response
from evolgen.backends.batch_api import BatchApi
from evolgen.backends.batch_inbox import Inbox
from evolgen.backends.batch_lines import question_line
from evolgen.backends.batch_state import GONE, BatchState
from evolgen.backends.openai_http import OpenAIBackend, parts_of
from evolgen.errors import GO_ON, Denied, Interrupted, Refused, Stopped, StoreError, Unanswered, Unreachable
from evolgen.pauses import Backoff, duration
from evolgen.store import Store

REQUESTS = 50_000
"""Questions in one batch at the most."""

BYTES = 200_000_000
"""Bytes of one batch's file at the most."""

QUIET = 4.0
"""First pauses of the backoff in which nothing is asked and nothing comes in until what was asked goes out: then no
lineage can go on without an answer."""

LEASE = 20.0
"""Seconds for which a batch belongs to whoever sends it; it is renewed as long as that goes on."""

RENEWED_EVERY = 5.0
FULL = ("token_limit_exceeded", "request_limit_exceeded")
"""Codes that say that an endpoint has more waiting than it takes."""


class BatchBackend:
    """Collects the questions of all lineages, sends them as batches, and waits.

    The first question of each kind (which parameters it has) goes out directly: it shows that key, model and
    parameters are right, and which of them the endpoint refuses, before thousands wait for a day to be told so.

    A batch is noted in the store before it is sent, with a token that goes along, until its answers are stored, asked
    for or not. So whoever runs next finds it, whenever this program ends: it is never paid twice.
    """

    def __init__(
        self,
        direct: OpenAIBackend,
        *,
        model: str,
        identity: Identity,
        give_up: float,
        backoff: Backoff,
        tell: Callable[[str], None],
    ) -> None:
        self._direct = direct
        self._api = BatchApi(direct.connection, backoff, give_up)
        self._model = model
        self._identity = identity
        self._give_up = give_up
        self._backoff = backoff
        self._tell = tell
        self._endpoint = str(direct.connection.address)
        self._store: Store
        self._inbox: Inbox
        self._working = False
        self._trying: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tried: set[tuple[str, ...]] = set()
        self._under_way: dict[str, Batch] = {}
        self._arrived: list[Batch] = []
        self._landed = asyncio.Event()
        self._most = REQUESTS
        self._full_since: float | None = None
        self._refusals = 0
        self._strange: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: BaseException | None = None

    def connect(self, store: Store) -> None:
        """Say where batches are noted and answers kept, before anything is asked: in the store of the run."""
        self._store = store
        self._inbox = Inbox(store)

    async def complete(self, model: str, request: Request) -> Response:
        """The answer to a question, some hours later; raises as a direct call would, and Stopped after `leave`."""
        self._work()
        key = request.key(self._identity)
        if (stored := self._inbox.stored(key)) is not None:  # it came with a batch of an earlier run, just now
            return stored
        if key not in self._inbox.sent:
            kind = tuple(parts_of(request))
            async with self._trying[kind]:
                if self._ended is None and kind not in self._tried:
                    response = await self._direct.complete(model, request)
                    self._tried.add(kind)
                    return response
        if self._ended is not None:
            raise self._ended
        return await self._inbox.wait_for(key, request)

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        return await self._direct.embed(model, texts)

    def leave(self) -> None:
        """Wait for nothing any longer: whoever waits is told Stopped."""
        self._end(Interrupted("the run is stopping"))

    async def close(self) -> None:
        with contextlib.suppress(StoreError):
            if self._arrived and self._inbox.settled:
                self._settle()
        self._end(Interrupted("the run is over"))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _work(self) -> None:
        """Begin, with the first question: the batches of earlier runs are taken up."""
        if self._working:
            return
        self._working = True
        for batch in self._store.batches():
            if (batch.endpoint, batch.model) == (self._endpoint, self._model):
                self._take(batch)
                self._begin(self._adopt(batch))
        self._begin(self._collect())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside the lineages; what it fails with ends it all."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self._end(error)

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self, error: BaseException) -> None:
        """Stop all work, and tell whoever waits."""
        if self._ended is not None:
            return
        self._ended = error
        if questions := sum(len(batch.keys) for batch in self._under_way.values()):
            self._tell(
                f"{_count(len(self._under_way), 'batch', 'batches')} with {questions:,} questions still under way: the "
                "next run with --batch takes the answers, `evolgen batches` lists and cancels"
            )
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self._working:
            self._inbox.close(error)

    def _take(self, batch: Batch) -> None:
        self._under_way[batch.token] = batch
        self._inbox.sent.update(batch.keys)

    def _settle(self) -> None:
        """Have done with the batches that arrived: their answers are on disk."""
        while self._arrived:
            self._done_with(self._arrived.pop())

    def _done_with(self, batch: Batch) -> None:
        """All that there is of a batch has come."""
        self._store.end_batch(batch.token)
        del self._under_way[batch.token]
        self._landed.set()

    async def _adopt(self, batch: Batch) -> None:
        """Wait for a batch of an earlier run, if it was sent at all."""
        sent = time.strftime("%Y-%m-%d %H:%M", time.localtime(batch.created))
        while batch.id is None and batch.leased > time.time():  # another run is just sending it
            await asyncio.sleep(self._backoff.pause(3, None))
            known = {each.token: each for each in self._store.batches()}
            if batch.token not in known:  # ... and has done with it
                self._drop(batch)
                return
            batch = known[batch.token]
        state = await self._api.find(batch.id, batch.token)
        if state is None:
            if batch.id is not None:
                self._tell(f"batch {batch.id}, sent {sent}, is unknown to the endpoint: its questions are asked anew")
            self._drop(batch)
            return
        self._store.name_batch(batch.token, state.id)
        self._tell(f"batch {state.id}, sent {sent}: waiting for its {len(batch.keys):,} questions")
        await self._watch(batch, state, adopted=True)

    def _drop(self, batch: Batch) -> None:
        """Nothing comes of a batch: its questions go out anew."""
        self._done_with(batch)
        self._inbox.send_again(batch.keys)

    async def _collect(self) -> None:
        """Send what was asked, whenever nothing moves any more."""
        inbox = self._inbox
        while True:
            await inbox.moved.wait()
            moves = None
            while moves != inbox.moves:
                moves = inbox.moves
                await asyncio.sleep(QUIET * self._backoff.first)
            inbox.moved.clear()
            while inbox.unsent:
                if self._full_since is not None:
                    await self._room()
                await self._send()

    async def _room(self) -> None:
        """Where an endpoint had too much waiting, one batch is under way at a time, and tried after a pause."""
        while self._under_way:
            self._landed.clear()
            await self._landed.wait()
        await asyncio.sleep(self._backoff.pause(self._refusals, None))

    async def _send(self) -> None:
        """Send as much of what was asked as one batch may hold."""
        with tempfile.TemporaryFile() as file:
            keys, form = self._pack(file)
            token, now = uuid.uuid4().hex, time.time()
            batch = Batch(token, None, self._endpoint, self._model, json.dumps(form), keys, now, now + LEASE)
            self._store.begin_batch(batch)
            self._take(batch)
            try:
                async with _renewed(self._store, token):
                    state = await self._api.begin(file, form["path"], token)
            except (Denied, Refused) as error:
                self._done_with(batch)
                raise Denied("denied", f"the endpoint takes no batches ({error}); run it without --batch") from error
        self._store.name_batch(batch.token, state.id)
        self._tell(f"batch {state.id}: {_count(len(keys), 'question', 'questions')} sent")
        self._begin(self._watch(batch, state))

    def _pack(self, file: IO[bytes]) -> tuple[tuple[bytes, ...], dict[str, Any]]:
        """Write the longest-waiting questions of one form into a file; returns their keys and the form."""
        first: dict[str, Any] = {}
        keys: list[bytes] = []
        left: list[bytes] = []
        for key in self._inbox.unsent:
            body, form = self._direct.written(self._model, self._inbox.request(key))
            first = first or form
            line = question_line(key, form["path"], body)
            if form == first and len(keys) < self._most and file.tell() + len(line) <= BYTES:
                file.write(line)
                keys.append(key)
            else:
                left.append(key)
        self._inbox.unsent = left
        return tuple(keys), first

    async def _watch(self, batch: Batch, state: BatchState, *, adopted: bool = False) -> None:
        """Wait until a batch is over and take what came of it."""
        state = await self._over(state)
        answered = 0
        for name in state.files:
            answered += await self._take_in(name, batch, adopted=adopted)
        self._arrived.append(batch)
        await self._inbox.settle()
        self._settle()
        if state.standing == "failed":
            self._failed(batch, state, adopted=adopted)
            self._inbox.send_again(batch.keys)
            return
        self._full_since, self._refusals = None, 0
        self._tell(f"batch {state.id}: {state.status}, {answered:,} of {len(batch.keys):,} questions answered")
        if state.standing == "cancelled" and not adopted:
            raise Stopped(f"batch {state.id} was cancelled; {GO_ON}, which asks anew for what it left unanswered")
        lost = Unanswered("batch_lost", "its batch has no word on it")
        await self._inbox.receive([(key, lost) for key in batch.keys if key in self._inbox.sent])

    async def _over(self, state: BatchState) -> BatchState:
        """How a batch ended; waits until it has."""
        for poll in itertools.count(1):
            if state.known is None and state.status not in self._strange:
                self._strange.add(state.status)
                self._tell(
                    f"batch {state.id}: evolgen doesn't know its status {state.status[:60]!r}, and waits until its "
                    "counts say that all is done"
                )
            if state.over:
                break
            await asyncio.sleep(self._backoff.pause(poll, None))
            state = await self._api.find(state.id, "") or replace(state, status=GONE)
        return state

    async def _take_in(self, name: str, batch: Batch, *, adopted: bool) -> int:
        """Fetch a file of outcomes and take all of them; returns how many answers there were.

        One that was there when the program ended may be gone by now.
        """
        with tempfile.TemporaryFile() as file:
            try:
                await self._api.download(name, file)
            except (Denied, Refused) as error:
                if not adopted or error.status not in (404, 410):
                    raise
                self._tell(f"file {name} is unknown to the endpoint: what it answered is asked anew")
            return await self._inbox.take_in(file, batch)

    def _failed(self, batch: Batch, state: BatchState, *, adopted: bool) -> None:
        """A batch failed as a whole: stop, unless the endpoint had too much waiting."""
        told = state.problem or state.code or "no reason given"
        if state.code not in FULL:
            if adopted:
                return  # of why it failed nothing may be left
            rule = "quota" if "billing" in state.code or "quota" in state.code else "denied"
            raise Denied(rule, f"batch {state.id} failed: {told}")
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
            self._tell(f"batch {state.id}: {told}: sending less at once")
        self._refusals += 1
        if now - self._full_since > self._give_up:
            raise Unreachable(f"the endpoint has taken no batch for {duration(self._give_up)} ({told}); {GO_ON}")
        if not self._under_way:
            self._most = max(1, len(batch.keys) // 2)


@contextlib.asynccontextmanager
async def _renewed(store: Store, token: str) -> AsyncIterator[None]:
    """Renew the lease of a batch while it is being sent; afterwards it may be taken up."""

    async def renew() -> None:
        with contextlib.suppress(StoreError):  # who sends it will find that out
            while True:
                await asyncio.sleep(RENEWED_EVERY)
                store.lease_batch(token, time.time() + LEASE)

    renewing = asyncio.ensure_future(renew())
    try:
        yield
    finally:
        renewing.cancel()
        store.lease_batch(token, 0.0)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
