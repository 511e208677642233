"""`ask`: from the store if it was paid for, else from the teacher, and durably stored before anyone reads it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from evolgen.answers import Answers
from evolgen.asking import Answer, Request, Role, read_answer
from evolgen.backends import Backend, Response, Teacher
from evolgen.engine.budget import Budget, Reservation, Spending, Spent
from evolgen.engine.ending import Ending
from evolgen.engine.fleet import Fleet
from evolgen.engine.kept import Damaged, KeptAnswers
from evolgen.engine.patience import Patience
from evolgen.engine.refusals import Refusals
from evolgen.engine.replica import Replica
from evolgen.engine.sharing import Sharing
from evolgen.engine.tokens import TokenEstimate, usage_of
from evolgen.errors import (
    BudgetReached,
    ConnectionFailed,
    Denied,
    EvolgenError,
    NotStored,
    Refused,
    StoreError,
    TeacherError,
    Unanswered,
)
from evolgen.events import Asked, Failed, Notice, Observer, Replayed, StopRequested, Stored
from evolgen.pauses import Backoff

R = TypeVar("R")
K = TypeVar("K")


class Halt(Exception):
    """The run is stopping: no further question is asked. Never reaches a pipeline's user."""


class Asker:
    """Answers the questions of a run.

    Identical questions in flight at the same time are asked once. A call holds its slot until its answer is
    durable. Once there is an `ending`, calls in flight finish and are stored, and every new question that the store
    can't answer raises Halt.

    `ask` is for chats and completions; it is made of `replay`, `pay` and `keep`, and so is `engine.embed`. `dropped`
    holds, by model, what questions had to be put without, as far as the answers say.
    """

    def __init__(
        self,
        store: Answers,
        teachers: Mapping[Role, Teacher],
        observer: Observer,
        *,
        attempts: int,
        backoff: Backoff | None = None,
        patience: float = 10.0,
        give_up: float = 1800.0,
        offline: bool = False,
        spending: Spending | None = None,
        output: str | None = None,
        sharing: Sharing | None = None,
        timeout: float = 120.0,
    ) -> None:
        """`output` stands for what is paid for; what others ask (`sharing`) is waited for as long as `timeout`."""
        self.ending: Ending | None = None
        self.answered = 0
        self.dropped: defaultdict[str, set[str]] = defaultdict(set)
        self._kept = KeptAnswers(store, output)
        self._teachers = teachers
        self._observe = observer
        self._attempts = attempts
        self._backoff = backoff or Backoff()
        self._fleets = {teacher.backends: self._fleet(teacher) for teacher in teachers.values()}
        self._offline = offline
        self._budget = Budget(spending or Spending(), self._kept.spent)
        self.sharing = sharing or Sharing(None)
        self.timeout = timeout
        self._unknown_ends: set[str] = set()
        self._refusals = Refusals()
        self._out = 0
        self._sending = asyncio.Event()
        self._sending.set()
        self._stopping = asyncio.Event()
        self._in_flight: dict[bytes, asyncio.Future[Answer]] = {}
        self._tokens = TokenEstimate()
        self._patience = Patience(self.stop, lambda: self.answered > 0, first=patience, later=give_up)

    def end(self, ending: Ending) -> None:
        """Ask nothing more; the first ending is the one that counts.

        What a budget paid for is waited for, however long it takes, unless something else ends the run as well.
        """
        if self.ending is None:
            self.ending = ending
            self._stopping.set()
            self._sending.set()
            self._budget.close()
            for fleet in self._fleets.values():
                fleet.close(Halt())
            if ending.reason is not None:
                left = not ending.waits and any(teacher.in_batches for teacher in self._teachers.values())
                self._observe(StopRequested(ending.reason, waits=not left))
        if not ending.waits:
            for backend in {backend for backends in self._fleets for backend in backends}:
                backend.leave()

    def stop(self, reason: EvolgenError) -> None:
        """End because of an error: one that only shows that the command is wrong, unless there were answers before."""
        self.end(Ending.by(reason, answered=self.answered > 0))

    def close(self) -> None:
        """Store what came last."""
        self._kept.close()
        self.sharing.close()

    async def ask(self, position: int, request: Request) -> Answer:
        """The answer to a question of the lineage at a commit position; raises Refused, Unanswered or Halt."""
        teacher = self._teachers[request.role]
        key = request.key(teacher.identity)
        if (pending := self._in_flight.get(key)) is not None:
            return await asyncio.shield(pending)
        stored = partial(self.replay, request.role, key, partial(read_answer, key, teacher.name))
        if (replayed := stored()) is not None:
            return self._noted(replayed)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        shared = key + self.variant(request.role)

        async def keep(response: Response, spent: Spent) -> Answer:
            answer = json.dumps(response)
            (held,) = await self.keep(request.role, [(key, answer)], spent)
            if held is not answer:  # another process was first
                return read_answer(key, teacher.name, held)
            return Answer.read(key, teacher.name, response)

        try:
            others = await self.sharing.turn(shared, stored, self.pause, self.timeout)
            answer: Answer = (
                others
                if others is not None
                else await self.pay(
                    position,
                    request.role,
                    lambda backend: backend.complete(teacher.wire_name, request),
                    keep,
                    tokens=0.0 if teacher.limits.tpm is None else self._tokens.of(request),
                    reservation=self._budget.reservation(request.role, request),
                )
            )
        except BaseException as error:
            future.set_exception(Halt() if isinstance(error, asyncio.CancelledError) else error)
            future.exception()  # whoever waits gets it; nobody has to
            raise
        else:
            future.set_result(answer)
            return self._noted(answer)
        finally:
            del self._in_flight[key]
            self.sharing.done(shared)

    def _noted(self, answer: Answer) -> Answer:
        """The same answer, once what it says of the endpoint is noted."""
        if answer.without:
            self.dropped[answer.model].update(answer.without)
        if answer.finish == "unknown" and answer.finish_reason not in self._unknown_ends:
            self._unknown_ends.add(answer.finish_reason)
            self._observe(Notice(
                f"an answer ended for a reason that evolgen doesn't know, {answer.finish_reason[:60]!r}: such rows are "
                "rejected, rule finish_reason"
            ))  # fmt: skip
        return answer

    def teacher(self, role: Role) -> Teacher:
        """Who answers in a role."""
        return self._teachers[role]

    def variant(self, role: Role) -> bytes:
        """What stands beside each key of a role's teacher in the store."""
        return self._teachers[role].variant or b""

    def replay(self, role: Role, key: bytes, read: Callable[[str], R]) -> R | None:
        """What the store holds for a key; None means that it may be asked for, else Halt is raised.

        `read` raises ValueError for an answer that is damaged: it is asked for anew, and replaced.
        """
        try:
            found = self._kept.get(key + self.variant(role), read)
        except StoreError as error:
            self.end(Ending.by(error, answered=True))
            raise Halt from error
        except Damaged as damaged:
            self._observe(Notice(f"the stored answer of key {key.hex()[:16]} is damaged ({damaged}): it is asked anew"))
        else:
            if found is not None:
                answer, created, usd = found
                if usd is None and isinstance(answer, Answer):  # of a store that didn't note it
                    usd = self._budget.cost(role, answer.usage)
                self.answered += 1
                self._sending.set()
                self._observe(Replayed(role, created, usd))
                return answer
        if self._offline:
            self.stop(NotStored(
                f"--offline: the store has no answer to a question ({role}, key {key.hex()[:16]}); "
                "run it without --offline to ask for what is missing"
            ))  # fmt: skip
        if self.ending is not None:
            raise Halt
        return None

    async def pay(
        self,
        position: int,
        role: Role,
        call: Callable[[Backend], Awaitable[R]],
        keep: Callable[[R, Spent], Awaitable[K]],
        *,
        tokens: float,
        reservation: Reservation | None = None,
        attempts: int | None = None,
        divisible: bool = False,
    ) -> K:
        """Make a call, as often as it takes; `keep` stores the answer while the call holds its place.

        `tokens` is how many it is estimated to take, `reservation` what it may take at the most (default: a prompt of
        so many tokens). Raises Refused, Unanswered (after so many `attempts`; default: those of the run) or Halt. A
        refused call that is `divisible` will be made again in parts.
        """
        wanted = reservation or self._budget.reserving(role, tokens, 0.0)
        most = self._attempts if attempts is None else min(attempts, self._attempts)
        fleet = self._fleets[self._teachers[role].backends]
        began = _now()
        for attempt in itertools.count(1):
            replica = await fleet.enter(position, tokens)
            number = 0
            try:
                await self._sending.wait()
                number = await self._take(wanted)
                sent = _now()
                outcome = await self._attempt(attempt, role, partial(call, replica.backend))
                if not isinstance(outcome, TeacherError):
                    usage = usage_of(outcome)
                    self._tokens.learn(role, usage)
                    spent = self._budget.settle(number, role, usage)
                    fleet.answered(replica, 0.0 if usage is None else usage.total - tokens)
                    return await keep(outcome, spent)
                fleet.failed(replica, outcome, sent)
            finally:
                self._budget.give_back(number)
                fleet.leave(replica)
            self._patience.hear(outcome, fleet)
            # a connection that fails is the question's own fault only if the endpoint was there in the meantime
            counts = not isinstance(outcome, ConnectionFailed) or replica.last_life >= began
            again = isinstance(outcome, Unanswered) and not (attempt >= most and counts)
            if not again and not divisible:
                self._refusals.hear(outcome)
            self._weigh_refusals()
            self._observe(Failed(role, outcome, final=not again and not (divisible and isinstance(outcome, Refused))))
            if not isinstance(outcome, Unanswered) or not again:
                raise outcome
            await self.pause(self._backoff.pause(attempt, outcome.retry_after))
        raise AssertionError("attempts are counted for ever")

    async def keep(self, role: Role, answers: Sequence[tuple[bytes, str]], spent: Spent) -> list[str]:
        """Store what one call brought, (key, answer) pairs, and took; returns what the store holds for each key."""
        variant = self.variant(role)
        try:
            stored = await self._kept.put([(key + variant, answer) for key, answer in answers], spent)
        except StoreError as error:
            self.end(Ending.by(error, answered=True))
            raise Halt from error
        self.answered += len(answers)
        self._sending.set()
        cost = None if spent.usage is None else spent.usd
        self._observe(Stored(role, self._teachers[role].name, spent.usage, cost, len(answers)))
        return stored

    def refused_alike(self) -> TeacherError | None:
        """The refusal that all questions met, where nothing else came and nothing was answered."""
        return self._refusals.first if self._refusals.all_alike and not self.answered else None

    def _weigh_refusals(self) -> None:
        """After many refusals of one kind, and nothing else, send no more; when none is in flight any more, stop."""
        if self.answered or not self._refusals.enough or self.ending is not None:
            return
        self._sending.clear()
        if not self._out and self._refusals.first is not None:
            self.stop(Denied("refused", f"nothing but refusals: {self._refusals.first}"))

    async def _attempt(self, attempt: int, role: Role, call: Callable[[], Awaitable[R]]) -> R | TeacherError:
        """One call: what it brought, or the error that it ended in."""
        self._observe(Asked(role, attempt))
        self._out += 1
        try:
            return await call()
        except TeacherError as error:
            if isinstance(error, Denied):
                self._observe(Failed(role, error, final=True))
                self.stop(error)
                raise Halt from error
            return error
        except EvolgenError as error:  # the teacher can't be had at all: no such model file, or nobody waits for it
            if self.ending is None:
                self.end(Ending.by(error))
            raise Halt from error
        finally:
            self._out -= 1

    def _fleet(self, teacher: Teacher) -> Fleet:
        pauses = (self._backoff.first, self._backoff.most)
        return Fleet([Replica(backend, teacher.limits, pauses) for backend in teacher.backends], self._observe)

    async def _take(self, wanted: Reservation) -> int:
        """Reserve what a call may take; a budget that is reached stops the run."""
        if self.ending is not None:
            raise Halt
        try:
            return await self._budget.take(wanted)
        except BudgetReached as reached:
            if self.ending is None:
                self.stop(reached)
            raise Halt from reached

    async def pause(self, seconds: float) -> None:
        """Wait, unless the run stops meanwhile."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise Halt


def _now() -> float:
    return asyncio.get_running_loop().time()
