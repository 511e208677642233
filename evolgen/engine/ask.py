"""`ask`: from the store if it was paid for, else from the teacher, and durably stored before anyone reads it."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from evolgen.asking import Answer, Request, Role
from evolgen.backends import Response, Teacher
from evolgen.engine.events import Asked, Failed, Observer, Replayed, StopRequested, Stored
from evolgen.engine.keep import GroupCommit
from evolgen.engine.limits import Backoff, Slots
from evolgen.errors import (
    GO_ON,
    BudgetReached,
    ConnectionFailed,
    Denied,
    EvolgenError,
    NotStored,
    Refused,
    StoreError,
    TeacherError,
    Unanswered,
    Unreachable,
)
from evolgen.store import Answers

R = TypeVar("R")
K = TypeVar("K")


class Halt(Exception):
    """The run is stopping: no further question is asked. Never reaches a pipeline's user."""


class Asker:
    """Answers the questions of a run.

    Identical questions in flight at the same time are asked once. A call holds its slot until its answer is
    durable. Once `stop` has been called, calls in flight finish and are stored, and every new question that the
    store can't answer raises Halt.

    `ask` is for chats and completions; it is made of `replay`, `pay` and `keep`, and so is `engine.embed`.
    """

    def __init__(
        self,
        store: Answers,
        teachers: Mapping[Role, Teacher],
        observer: Observer,
        *,
        attempts: int,
        backoff: Backoff | None = None,
        offline: bool = False,
        max_requests: int | None = None,
    ) -> None:
        self.stopped: EvolgenError | None = None
        self.answered = 0
        self._store = store
        self._keeper = GroupCommit(store)
        self._teachers = teachers
        self._slots = {teacher.backend: Slots(teacher.concurrency) for teacher in teachers.values()}
        self._observe = observer
        self._attempts = attempts
        self._backoff = backoff or Backoff()
        self._offline = offline
        self._requests_left = max_requests
        self._max_requests = max_requests
        self._stopping = asyncio.Event()
        self._in_flight: dict[bytes, asyncio.Future[Answer]] = {}
        self._last_life = -math.inf
        self._silent_since: float | None = None

    def stop(self, reason: EvolgenError) -> None:
        """Ask nothing more; the first reason given is the one that counts."""
        if self.stopped is None:
            self.stopped = reason
            self._stopping.set()
            self._observe(StopRequested(reason))

    def deny(self, error: Denied) -> None:
        """Stop because no question will be answered: the command is wrong, unless there were answers before."""
        self.stop(_late(error) if self.answered else error)

    @property
    def halted(self) -> bool:
        return self._stopping.is_set()

    def halt(self) -> None:
        """Ask nothing more because the work is done: a stop without a reason."""
        self._stopping.set()

    def close(self) -> None:
        """Store what came last."""
        self._keeper.close()

    async def ask(self, position: int, request: Request) -> Answer:
        """The answer to a question of the lineage at a commit position; raises Refused, Unanswered or Halt."""
        teacher = self._teachers[request.role]
        key = request.key(teacher.identity)
        if (pending := self._in_flight.get(key)) is not None:
            return await asyncio.shield(pending)
        if (stored := self.replay(request.role, key)) is not None:
            return Answer.read(key, teacher.name, json.loads(stored))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future

        async def keep(response: Response) -> Answer:
            answer = json.dumps(response)
            (stored,) = await self.keep(request.role, [(key, answer)], response.get("usage"))
            if stored is not answer:  # another process was first
                response = json.loads(stored)
            return Answer.read(key, teacher.name, response)

        try:
            answer = await self.pay(
                position, request.role, partial(teacher.backend.complete, teacher.wire_name, request), keep
            )
        except BaseException as error:
            future.set_exception(Halt() if isinstance(error, asyncio.CancelledError) else error)
            future.exception()  # whoever waits gets it; nobody has to
            raise
        else:
            future.set_result(answer)
            return answer
        finally:
            del self._in_flight[key]

    def teacher(self, role: Role) -> Teacher:
        """Who answers in a role."""
        return self._teachers[role]

    def replay(self, role: Role, key: bytes) -> str | None:
        """What the store holds for a key; None means that it may be asked for, else Halt is raised."""
        try:
            stored = self._store.get(key)
        except StoreError as error:
            self.stop(_late(error))
            raise Halt from error
        if stored is not None:
            self.answered += 1
            self._observe(Replayed(role, stored.created))
            return stored.answer
        if self._offline:
            self.stop(NotStored(
                f"--offline: the store has no answer to a question ({role}, key {key.hex()[:16]}); "
                "run it without --offline to ask for what is missing"
            ))  # fmt: skip
        if self._stopping.is_set():
            raise Halt
        return None

    async def pay(
        self,
        position: int,
        role: Role,
        call: Callable[[], Awaitable[R]],
        keep: Callable[[R], Awaitable[K]],
        *,
        attempts: int | None = None,
        divisible: bool = False,
    ) -> K:
        """Make a call, as often as it takes; `keep` stores the answer while the call holds its slot.

        Raises Refused, Unanswered (after so many `attempts`; default: those of the run) or Halt. A refused call
        that is `divisible` will be made again in parts.
        """
        most = self._attempts if attempts is None else min(attempts, self._attempts)
        began = _now()
        for attempt in itertools.count(1):
            async with self._slots[self._teachers[role].backend].slot(position):
                outcome = await self._attempt(attempt, role, call)
                if not isinstance(outcome, TeacherError):
                    return await keep(outcome)
            again = isinstance(outcome, Unanswered) and not (attempt >= most and self._answers(outcome, began))
            self._observe(Failed(role, outcome, final=not again and not (divisible and isinstance(outcome, Refused))))
            if not isinstance(outcome, Unanswered) or not again:
                raise outcome
            await self._pause(self._backoff.pause(attempt, outcome.retry_after))
        raise AssertionError("attempts are counted for ever")

    async def keep(self, role: Role, answers: Sequence[tuple[bytes, str]], usage: object) -> list[str]:
        """Store what one call brought, (key, answer) pairs; returns what the store holds for each key.

        `usage` is the endpoint's count of tokens, for the whole call.
        """
        try:
            stored = await self._keeper.keep(answers)
        except StoreError as error:
            self.stop(_late(error))
            raise Halt from error
        self.answered += len(answers)
        self._observe(Stored(role, usage if isinstance(usage, dict) else {}, len(answers)))
        return [kept.answer for kept in stored]

    async def _attempt(self, attempt: int, role: Role, call: Callable[[], Awaitable[R]]) -> R | TeacherError:
        """One call: what it brought, or the error that it ended in."""
        self._spend()
        self._observe(Asked(role, attempt))
        try:
            response = await call()
        except TeacherError as error:
            self._note_life(error)
            if isinstance(error, Denied):
                self._observe(Failed(role, error, final=True))
                self.deny(error)
                raise Halt from error
            return error
        except EvolgenError as error:  # the teacher can't be had at all: no such model file, no such extra
            self.stop(error)
            raise Halt from error
        self._last_life, self._silent_since = _now(), None
        return response

    def _spend(self) -> None:
        if self._stopping.is_set():
            raise Halt
        if self._requests_left is not None:
            if self._requests_left == 0:
                self.stop(BudgetReached(f"--max-requests {self._max_requests}: all of them are spent; {GO_ON}"))
                raise Halt
            self._requests_left -= 1

    def _note_life(self, error: TeacherError) -> None:
        """Connection errors and nothing else for a while mean that the teacher is gone."""
        if not isinstance(error, ConnectionFailed):
            self._last_life, self._silent_since = _now(), None
            return
        if self._silent_since is None:
            self._silent_since = _now()
        if _now() - self._silent_since >= self._backoff.patience:
            self.stop(
                Unreachable(f"the teacher gave no sign of life for {self._backoff.patience:g} s ({error}); {GO_ON}")
            )

    def _answers(self, error: TeacherError, began: float) -> bool:
        """Whether the teacher showed a sign of life since a question was first put; if not, it may be gone."""
        return not isinstance(error, ConnectionFailed) or self._last_life >= began

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the run stops meanwhile."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise Halt


def _now() -> float:
    return asyncio.get_running_loop().time()


def _late(error: EvolgenError) -> EvolgenError:
    """The same error where answers were already paid for: the run can be resumed, exit 3."""
    error.exit_code = 3
    return error
