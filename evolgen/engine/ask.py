"""`ask`: from the store if it was paid for, else from the teacher, and durably stored before anyone reads it."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Mapping

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
    StoreError,
    TeacherError,
    Unanswered,
    Unreachable,
)
from evolgen.store import Answers


class Halt(Exception):
    """The run is stopping: no further question is asked. Never reaches a pipeline's user."""


class Asker:
    """Answers the questions of a run.

    Identical questions in flight at the same time are asked once. A call holds its slot until its answer is
    durable. Once `stop` has been called, calls in flight finish and are stored, and every new question that the
    store can't answer raises Halt.
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
        if (answer := self._replay(request, teacher, key)) is not None:
            return answer
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        try:
            answer = await self._pay(position, request, teacher, key)
        except BaseException as error:
            future.set_exception(Halt() if isinstance(error, asyncio.CancelledError) else error)
            future.exception()  # whoever waits gets it; nobody has to
            raise
        else:
            future.set_result(answer)
            return answer
        finally:
            del self._in_flight[key]

    def _replay(self, request: Request, teacher: Teacher, key: bytes) -> Answer | None:
        try:
            stored = self._store.get(key)
        except StoreError as error:
            self.stop(_late(error))
            raise Halt from error
        if stored is not None:
            self.answered += 1
            self._observe(Replayed(request.role, stored.created))
            return Answer.read(key, teacher.name, json.loads(stored.answer))
        if self._offline:
            self.stop(NotStored(
                f"--offline: the store has no answer to a question ({request.role}, key {key.hex()[:16]}); "
                "run it without --offline to ask for what is missing"
            ))  # fmt: skip
        if self._stopping.is_set():
            raise Halt
        return None

    async def _pay(self, position: int, request: Request, teacher: Teacher, key: bytes) -> Answer:
        began = _now()
        for attempt in itertools.count(1):
            async with self._slots[teacher.backend].slot(position):
                response = await self._attempt(attempt, request, teacher)
                if isinstance(response, dict):
                    return await self._keep(request, teacher, key, response)
            final = not isinstance(response, Unanswered) or self._give_up(attempt, response, began)
            self._observe(Failed(request.role, response, final))
            if not isinstance(response, Unanswered) or final:
                raise response
            await self._pause(self._backoff.pause(attempt, response.retry_after))
        raise AssertionError("attempts are counted for ever")

    async def _attempt(self, attempt: int, request: Request, teacher: Teacher) -> Response | TeacherError:
        """One call: the response, or the error that it ended in."""
        self._spend()
        self._observe(Asked(request.role, attempt))
        try:
            response = await teacher.backend.complete(teacher.wire_name, request)
        except TeacherError as error:
            self._note_life(error)
            if isinstance(error, Denied):
                self._observe(Failed(request.role, error, final=True))
                self.stop(_late(error) if self.answered else error)
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

    async def _keep(self, request: Request, teacher: Teacher, key: bytes, response: Response) -> Answer:
        try:
            answer = json.dumps(response)
            stored = await self._keeper.keep(key, answer)
        except StoreError as error:
            self.stop(_late(error))
            raise Halt from error
        usage = response.get("usage")
        self.answered += 1
        self._observe(Stored(request.role, usage if isinstance(usage, dict) else {}))
        if stored.answer is not answer:  # another process was first
            response = json.loads(stored.answer)
        return Answer.read(key, teacher.name, response)

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

    def _give_up(self, attempt: int, error: TeacherError, began: float) -> bool:
        """Whether a question has had its attempts.

        None is given up for a teacher that showed no sign of life since the question was first put: it may be gone.
        """
        gone = isinstance(error, ConnectionFailed) and self._last_life < began
        return attempt >= self._attempts and not gone

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
