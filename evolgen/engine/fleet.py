"""The replicas of a teacher, and who may call which of them now."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Sequence

from evolgen.engine.replica import Replica
from evolgen.errors import ConnectionFailed, TeacherError, Unanswered
from evolgen.events import Notice, Observer

PUSHING_BACK = ("rate_limited", "http_503", "timeout")
"""Failures that say that an endpoint is asked too much."""


class Fleet:
    """Endpoints that serve the same model: a call goes to the one that is least loaded among those that may be asked.

    Calls that have to wait go out in the order of their commit positions, the lowest first.
    """

    def __init__(self, replicas: Sequence[Replica], observer: Observer = lambda event: None) -> None:
        self.replicas = replicas
        self._observe = observer
        self._silent_since: float | None = None
        self._told = False
        self._waiting: list[tuple[int, int, float, asyncio.Future[Replica]]] = []
        self._arrivals = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed: BaseException | None = None

    @property
    def silent_for(self) -> float:
        """Seconds for which none of them gave a sign of life although they were called."""
        return 0.0 if self._silent_since is None else _now() - self._silent_since

    @property
    def in_flight(self) -> int:
        """Calls that have not come back."""
        return sum(replica.in_flight for replica in self.replicas)

    def answered(self, replica: Replica, tokens_beyond: float) -> None:
        """A call was answered, and took so many tokens more than estimated."""
        replica.answered(_now(), tokens_beyond)
        self._note_life()

    def failed(self, replica: Replica, error: TeacherError, sent: float) -> None:
        """A call that was sent at some time failed: what that says of its endpoint."""
        if not isinstance(error, ConnectionFailed):
            replica.alive(_now())
            self._note_life()
            if isinstance(error, Unanswered) and error.rule in PUSHING_BACK:
                replica.pushed_back(_now(), error.retry_after, sent)
            return
        replica.unreachable(_now())
        if self._silent_since is None:
            self._silent_since = _now()
        if not self._told and all(each.down for each in self.replicas):
            self._told = True
            self._observe(Notice(f"the teacher can't be reached ({error}): trying it now and then until it is back"))

    def _note_life(self) -> None:
        self._silent_since = None
        if self._told:
            self._told = False
            self._observe(Notice("the teacher is back"))

    async def enter(self, position: int, tokens: float) -> Replica:
        """Wait for a replica that may be called, and take it; raises what `close` was called with."""
        if self._closed is not None:
            raise self._closed
        if not self._waiting and (replica := self._free()) is not None:
            replica.take(tokens, _now())
            return replica
        turn: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (position, self._arrivals, tokens, turn))
        self._dispatch()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(turn.result())  # the replica came together with the cancellation
            raise

    def leave(self, replica: Replica) -> None:
        """The call is back, its answer stored: its place is free."""
        replica.let_go()
        self._dispatch()

    def close(self, error: BaseException) -> None:
        """Nobody may call any more: those that wait get the error."""
        self._closed = error
        if self._timer is not None:
            self._timer.cancel()
        for *_, turn in self._waiting:
            if not turn.done():
                turn.set_exception(error)
        self._waiting.clear()

    def _free(self) -> Replica | None:
        now = _now()
        if len(self.replicas) == 1:  # most fleets, and all that a busy run does besides asking counts
            return self.replicas[0] if self.replicas[0].ready_at() <= now else None
        ready = [replica for replica in self.replicas if replica.ready_at() <= now]
        return min(ready, key=lambda replica: replica.load, default=None)

    def _dispatch(self) -> None:
        """Give what is free to those that wait; look again when the first of the others becomes free by time alone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self._waiting[0][3].done():
                heapq.heappop(self._waiting)
                continue
            replica = self._free()
            if replica is None:
                break
            _, _, tokens, turn = heapq.heappop(self._waiting)
            replica.take(tokens, _now())
            turn.set_result(replica)
        if self._waiting and (soonest := min(replica.ready_at() for replica in self.replicas)) < math.inf:
            self._timer = asyncio.get_running_loop().call_at(soonest, self._dispatch)


def _now() -> float:
    return asyncio.get_running_loop().time()
