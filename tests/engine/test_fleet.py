"""Replicas side by side: the least loaded first, the dead one out of the way and back again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evolgen.asking import Request
from evolgen.backends import Embeddings, Limits, Response, Teacher
from evolgen.backends.scripted import response
from evolgen.engine.ask import Asker, Halt
from evolgen.engine.fleet import Fleet
from evolgen.engine.replica import Replica
from evolgen.errors import BudgetReached, ConnectionFailed, Unanswered, Unreachable
from evolgen.events import Event, Notice
from evolgen.pauses import Backoff
from evolgen.store import Store

pytestmark = pytest.mark.anyio


class Endpoint:
    """A backend that answers after a moment, unless it is told to fail."""

    def __init__(self, name: str = "", seconds: float = 0.001) -> None:
        self.name = name
        self.seconds = seconds
        self.error: Exception | None = None
        self.calls = self.in_flight = self.most_in_flight = 0

    async def complete(self, model: str, request: Request) -> Response:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
            if self.error is not None:
                raise self.error
            return response(f"answer to {request.messages[0][1]}")
        finally:
            self.in_flight -= 1

    def leave(self) -> None:
        pass

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        raise AssertionError

    async def close(self) -> None:
        pass


def asker(tmp_path: Path, *endpoints: Endpoint, events: list[Event] | None = None, **more: Any) -> Asker:
    limits = Limits(more.pop("concurrency", 8), more.pop("rpm", None), more.pop("tpm", None))
    teacher = Teacher("m", "m", {"model": "m"}, endpoints, limits)
    settings: dict[str, Any] = {"attempts": 5, "backoff": Backoff(first=0.01, most=0.05)} | more
    observe = (events if events is not None else []).append
    return Asker(Store(tmp_path / "store.sqlite"), {"answer": teacher}, observe, **settings)


async def ask_all(engine: Asker, count: int) -> list[Any]:
    questions = (Request("answer", (("user", str(number)),)) for number in range(count))
    asking = (engine.ask(position, question) for position, question in enumerate(questions))
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_calls_go_to_the_least_loaded_and_never_beyond_a_replicas_limit(tmp_path: Path) -> None:
    quick, slow = Endpoint(seconds=0.002), Endpoint(seconds=0.02)
    await ask_all(asker(tmp_path, quick, slow, concurrency=4), 200)
    assert quick.calls + slow.calls == 200
    assert quick.calls > 3 * slow.calls
    assert quick.most_in_flight == slow.most_in_flight == 4


async def test_a_dead_replica_is_taken_out_tried_now_and_then_and_brought_back(tmp_path: Path) -> None:
    healthy, dead = Endpoint(), Endpoint()
    dead.error = ConnectionFailed("connection", "refused")
    events: list[Event] = []
    engine = asker(tmp_path, healthy, dead, events=events)
    answers = await ask_all(engine, 300)
    assert all(answer.text.startswith("answer") for answer in answers)
    assert dead.calls < 30
    assert not [event for event in events if isinstance(event, Notice)], "one that answers is enough"
    dead.error = None
    questions = (Request("answer", (("user", f"more {number}"),)) for number in range(600))
    await asyncio.gather(*(engine.ask(0, question) for question in questions))
    assert dead.calls > 100


async def test_when_all_are_down_the_run_waits_says_so_once_and_goes_on(tmp_path: Path) -> None:
    one, other = Endpoint(), Endpoint()
    events: list[Event] = []
    engine = asker(tmp_path, one, other, events=events, give_up=60.0)
    await engine.ask(0, Request("answer", (("user", "first"),)))
    one.error = other.error = ConnectionFailed("connection", "refused")
    asking = asyncio.ensure_future(ask_all(engine, 50))
    await asyncio.sleep(0.5)
    assert one.calls + other.calls < 60, "one call at a time tries them"
    one.error = None
    answers = await asyncio.wait_for(asking, 60)
    assert all(answer.text.startswith("answer") for answer in answers)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert len(notices) == 2
    assert "can't be reached" in notices[0]
    assert "back" in notices[1]


async def test_a_teacher_that_stays_away_stops_the_run_after_give_up(tmp_path: Path) -> None:
    endpoint = Endpoint()
    engine = asker(tmp_path, endpoint, give_up=0.3)
    await engine.ask(0, Request("answer", (("user", "first"),)))
    endpoint.error = ConnectionFailed("connection", "refused")
    outcomes = await asyncio.wait_for(ask_all(engine, 20), 60)
    assert all(isinstance(outcome, Halt) for outcome in outcomes)
    assert engine.ending is not None
    assert isinstance(engine.ending.reason, Unreachable)
    assert "0.3 s" in str(engine.ending.reason)


async def test_a_retry_after_beyond_give_up_stops_the_run(tmp_path: Path) -> None:
    endpoint = Endpoint()
    endpoint.error = Unanswered("rate_limited", "quota for today is used up", retry_after=7200.0)
    engine = asker(tmp_path, endpoint, give_up=1800.0)
    assert all(isinstance(outcome, Halt) for outcome in await ask_all(engine, 10))
    assert engine.ending is not None
    assert isinstance(engine.ending.reason, Unreachable)
    assert "2.0 h" in str(engine.ending.reason)
    assert "--give-up 30 min" in str(engine.ending.reason)


async def test_a_stop_frees_all_that_wait(tmp_path: Path) -> None:
    endpoint = Endpoint(seconds=0.2)
    engine = asker(tmp_path, endpoint, concurrency=2)
    asking = asyncio.ensure_future(ask_all(engine, 100))
    await asyncio.sleep(0.05)
    engine.stop(BudgetReached("enough"))
    outcomes = await asyncio.wait_for(asking, 30)
    assert Counter(type(outcome).__name__ for outcome in outcomes) == {"Halt": 98, "Answer": 2}


async def test_requests_a_minute_are_held_and_tokens_too(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    for name, per_minute in (("rpm", 1200.0), ("tpm", 1200.0 * 256.25)):
        more: dict[str, Any] = {name: per_minute}
        engine = asker(tmp_path / name, Endpoint(), **more)
        began = loop.time()
        await ask_all(engine, 40)
        assert loop.time() - began >= (40 - 20 - 1) / 20, "twenty a second after the first second's worth"


async def test_positions_come_in_order_and_a_cancelled_wait_gives_its_place_back() -> None:
    fleet = Fleet([Replica(Endpoint(), Limits(1))])
    first = await fleet.enter(0, 1.0)
    order: list[int] = []

    async def visit(position: int) -> None:
        replica = await fleet.enter(position, 1.0)
        order.append(position)
        fleet.leave(replica)

    visits = {position: asyncio.ensure_future(visit(position)) for position in (7, 3, 9, 1)}
    await asyncio.sleep(0)
    visits[1].cancel()
    fleet.leave(first)
    visits[3].cancel()
    await asyncio.gather(*visits.values(), return_exceptions=True)
    assert order in ([7, 9], [3, 7, 9])
    assert fleet.replicas[0].in_flight == 0


async def test_no_place_is_ever_lost() -> None:
    fleet = Fleet([Replica(Endpoint(), Limits(3)), Replica(Endpoint(), Limits(2))])
    drawn = random.Random(1)

    async def visit(position: int) -> None:
        replica = await fleet.enter(position, 1.0)
        try:
            await asyncio.sleep(drawn.random() / 1000)
        finally:
            fleet.leave(replica)

    tasks = [asyncio.ensure_future(visit(drawn.randrange(100))) for _ in range(500)]
    for task in drawn.sample(tasks, 200):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [replica.in_flight for replica in fleet.replicas] == [0, 0]
