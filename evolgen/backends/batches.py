"""A teacher that answers in batches: cheaper, and some hours later."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, Any

from evolgen.asking import Request
from evolgen.backends import Embeddings, Identity, Response
from evolgen.backends.batch_api import BYTES, REQUESTS, BatchApi, BatchState, question_line, read_lines
from evolgen.backends.batch_calls import BatchCalls
from evolgen.backends.openai_http import ADAPTABLE, OpenAIBackend, checked
from evolgen.config.environment import OPENAI_URL, public_url
from evolgen.errors import (
    GO_ON,
    Denied,
    Interrupted,
    Refused,
    Stopped,
    TeacherError,
    Unanswered,
    Unreachable,
)
from evolgen.pauses import Backoff, duration
from evolgen.store import GROUP, Batch, Store

QUIET = 4.0
"""First pauses of the backoff in which nothing is asked and nothing comes in until what was asked goes out: then no
lineage can go on without an answer."""

FULL = ("token_limit_exceeded", "request_limit_exceeded")
"""Codes that say that an endpoint has more waiting than it takes."""


class BatchBackend:
    """Collects the questions of all lineages, sends them as batches, and waits.

    The first question of each kind (which parameters it has) goes out directly: it shows that key, model and
    parameters are right, and which of them the endpoint refuses, before thousands wait for a day to be told so.

    A batch is noted in the store before it is sent, with a token that goes along. So whoever runs next finds it,
    whenever this program ends: it is never paid twice. Answers are stored as they come, asked for or not.
    """

    def __init__(
        self,
        direct: OpenAIBackend,
        store: Path,
        *,
        model: str,
        identity: Identity,
        give_up: float,
        backoff: Backoff,
        tell: Callable[[str], None],
    ) -> None:
        self._direct = direct
        self._calls = BatchCalls(BatchApi(direct.connection), backoff, give_up)
        self._path = store
        self._model = model
        self._identity = identity
        self._give_up = give_up
        self._backoff = backoff
        self._tell = tell
        self._endpoint = public_url(direct.connection.base_url or OPENAI_URL)
        self._store: Store | None = None
        self._trying: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tried: set[tuple[str, ...]] = set()
        self._waiting: dict[bytes, tuple[Request, asyncio.Future[Response]]] = {}
        self._unsent: list[bytes] = []
        self._sent: set[bytes] = set()
        self._under_way: dict[str, Batch] = {}
        self._moved = asyncio.Event()
        self._moves = 0
        self._landed = asyncio.Event()
        self._most = REQUESTS
        self._full_since: float | None = None
        self._refusals = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: BaseException | None = None

    async def complete(self, model: str, request: Request) -> Response:
        """The answer to a question, some hours later; raises as a direct call would, and Stopped after `leave`."""
        key = request.key(self._identity)
        if (stored := self._opened().get(key)) is not None:  # it came with a batch of an earlier run, just now
            return dict(json.loads(stored.answer))
        if key not in self._sent:
            kind = tuple(name for name in ADAPTABLE if getattr(request, name) not in (None, ()))
            async with self._trying[kind]:
                if self._ended is None and kind not in self._tried:
                    response = await self._direct.complete(model, request)
                    self._tried.add(kind)
                    return response
        if self._ended is not None:
            raise self._ended
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[key] = (request, future)
        if key not in self._sent:
            self._unsent.append(key)
            self._move()
        return await future

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        return await self._direct.embed(model, texts)

    def leave(self) -> None:
        """Wait for nothing any longer: whoever waits is told Stopped."""
        self._end(Interrupted("the run is stopping"))

    async def close(self) -> None:
        self._end(Interrupted("the run is over"))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store:
        """The store; when it is first opened, the batches of earlier runs are taken up and the work begins."""
        if self._store is None:
            self._store = Store(self._path)
            for batch in self._store.batches():
                if (batch.endpoint, batch.model) == (self._endpoint, self._model):
                    self._take(batch)
                    self._begin(self._adopt(batch))
            self._begin(self._collect())
        return self._store

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
        """Tell the first of those that wait what happened, and the others that it is over."""
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
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                error = Interrupted("the run is stopping")
        self._waiting.clear()

    def _move(self) -> None:
        self._moves += 1
        self._moved.set()

    def _take(self, batch: Batch) -> None:
        self._under_way[batch.token] = batch
        self._sent.update(batch.keys)

    async def _adopt(self, batch: Batch) -> None:
        """Wait for a batch of an earlier run, if it was sent at all."""
        sent = time.strftime("%Y-%m-%d %H:%M", time.localtime(batch.created))
        state = await self._calls.find(batch.id, batch.token)
        if state is None:
            if batch.id is not None:
                self._tell(f"batch {batch.id}, sent {sent}, is unknown to the endpoint: its questions are asked anew")
            self._opened().end_batch(batch.token)
            del self._under_way[batch.token]
            self._send_again(batch)
            return
        self._opened().name_batch(batch.token, state.id)
        self._tell(f"batch {state.id}, sent {sent}: waiting for its {len(batch.keys):,} questions")
        await self._watch(batch, state, adopted=True)

    async def _collect(self) -> None:
        """Send what was asked, whenever nothing moves any more."""
        while True:
            await self._moved.wait()
            moves = None
            while moves != self._moves:
                moves = self._moves
                await asyncio.sleep(QUIET * self._backoff.first)
            self._moved.clear()
            while self._unsent:
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
            batch = Batch(uuid.uuid4().hex, None, self._endpoint, self._model, json.dumps(form), keys, time.time())
            self._opened().begin_batch(batch)
            self._take(batch)
            try:
                state = await self._calls.begin(file, form["path"], batch.token)
            except (Denied, Refused) as error:
                self._opened().end_batch(batch.token)
                del self._under_way[batch.token]
                raise Denied("denied", f"the endpoint takes no batches ({error}); run it without --batch") from error
        self._opened().name_batch(batch.token, state.id)
        self._tell(f"batch {state.id}: {_count(len(keys), 'question', 'questions')} sent")
        self._begin(self._watch(batch, state))

    def _pack(self, file: IO[bytes]) -> tuple[tuple[bytes, ...], dict[str, Any]]:
        """Write the longest-waiting questions of one form into a file; returns their keys and the form."""
        first: dict[str, Any] | None = None
        keys: list[bytes] = []
        left: list[bytes] = []
        for key in self._unsent:
            body, form = self._direct.written(self._model, self._waiting[key][0])
            first = first or form
            line = question_line(key, form["path"], body)
            if form == first and len(keys) < self._most and file.tell() + len(line) <= BYTES:
                file.write(line)
                keys.append(key)
            else:
                left.append(key)
        self._unsent = left
        return tuple(keys), first or {}

    async def _watch(self, batch: Batch, state: BatchState, *, adopted: bool = False) -> None:
        """Wait until a batch is over and take what came of it."""
        state = await self._calls.over(state)
        answered = 0
        for name in state.files:
            answered += await self._take_in(name, json.loads(batch.form))
        self._opened().end_batch(batch.token)
        del self._under_way[batch.token]
        self._landed.set()
        if state.status == "failed":
            self._failed(batch, state, adopted=adopted)
            self._send_again(batch)
            return
        self._full_since, self._refusals = None, 0
        self._tell(f"batch {state.id}: {state.status}, {answered:,} of {len(batch.keys):,} questions answered")
        if state.status == "cancelled" and not adopted:
            raise Stopped(f"batch {state.id} was cancelled; {GO_ON}, which asks anew for what it left unanswered")
        lost = Unanswered("batch_lost", "its batch has no word on it")
        await self._receive([(key, lost) for key in batch.keys if key in self._sent], {})

    async def _take_in(self, name: str, form: dict[str, Any]) -> int:
        """Fetch a file of outcomes and take all of them; returns how many answers there were."""
        answered = 0
        with tempfile.TemporaryFile() as file:
            await self._calls.download(name, file)
            lines = read_lines(file)
            while group := list(itertools.islice(lines, GROUP)):
                answered += await self._receive(group, form)
        return answered

    async def _receive(self, outcomes: Sequence[tuple[bytes, object]], form: dict[str, Any]) -> int:
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
        pairs = [(key, json.dumps(answer)) for key, answer in answers.items()]
        if pairs:
            await asyncio.to_thread(self._opened().put, pairs)
        for key, answer in answers.items():
            if (future := self._waiter(key)) is not None:
                future.set_result(answer)
        for key, failure in errors.items():
            if (future := self._waiter(key)) is not None:
                future.set_exception(failure)
        self._moves += 1
        return len(answers)

    def _waiter(self, key: bytes) -> asyncio.Future[Response] | None:
        """Who waits for a question whose outcome is here."""
        self._sent.discard(key)
        _, future = self._waiting.pop(key, (None, None))
        return None if future is None or future.done() else future

    def _send_again(self, batch: Batch) -> None:
        """Send the questions of a batch that nothing came of with the next one, as far as somebody waits for them."""
        self._sent.difference_update(batch.keys)
        self._unsent += [key for key in batch.keys if key in self._waiting]
        self._move()

    def _failed(self, batch: Batch, state: BatchState, *, adopted: bool) -> None:
        """A batch failed as a whole: stop, unless the endpoint had too much waiting."""
        told = state.problem or state.code or "no reason given"
        if state.code not in FULL:
            if adopted:
                return  # of why it failed nothing may be left
            denied = Denied("denied", f"batch {state.id} failed: {told}")
            denied.exit_code = 3 if "billing" in state.code or "quota" in state.code else 2
            raise denied
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
            self._tell(f"batch {state.id}: {told}: sending less at once")
        self._refusals += 1
        if now - self._full_since > self._give_up:
            raise Unreachable(f"the endpoint has taken no batch for {duration(self._give_up)} ({told}); {GO_ON}")
        if not self._under_way:
            self._most = max(1, len(batch.keys) // 2)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
