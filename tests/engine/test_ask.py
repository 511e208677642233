from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evolgen.answers import Entry, Stored
from evolgen.asking import Request
from evolgen.backends import Embeddings, Limits, Response, Teacher
from evolgen.backends.scripted import response
from evolgen.engine.ask import Asker, Halt
from evolgen.engine.budget import Spending
from evolgen.errors import (
    BudgetReached,
    ConnectionFailed,
    Denied,
    EvolgenError,
    NotStored,
    Refused,
    StoreError,
    Unanswered,
    Unreachable,
)
from evolgen.events import Event, Failed, Notice, StopRequested
from evolgen.pauses import Backoff
from evolgen.report.tally import Tally
from evolgen.store import Store

pytestmark = pytest.mark.anyio

QUICK = Backoff(first=0.0)


class Fake:
    """A backend that does what a list of outcomes says, one a call; the last one goes on for ever."""

    def __init__(self, *outcomes: Response | EvolgenError) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def complete(self, model: str, request: Request) -> Response:
        self.calls += 1
        await self.gate.wait()
        outcome = self.outcomes[0] if len(self.outcomes) == 1 else self.outcomes.pop(0)
        if isinstance(outcome, EvolgenError):
            raise outcome
        return outcome

    def leave(self) -> None:
        pass

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        raise AssertionError("nobody asks for embeddings here")

    async def close(self) -> None:
        pass


def asker(backend: Fake, store: Any, events: list[Event] | None = None, concurrency: int = 4, **limits: Any) -> Asker:
    teacher = Teacher("shown", "wire", {"model": "shown"}, (backend,), Limits(concurrency))
    roles: dict[Any, Teacher] = dict.fromkeys(("evolve", "answer", "judge"), teacher)
    settings: dict[str, Any] = {"attempts": 3, "backoff": QUICK} | limits
    return Asker(store, roles, (events if events is not None else []).append, **settings)


def reason(engine: Asker) -> object:
    """What an asker ended by."""
    return engine.ending and engine.ending.reason


def ask_for(text: str = "q", **more: Any) -> Request:
    return Request("answer", (("user", text),), **more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


async def test_an_answer_is_paid_once_and_then_replayed(store: Store) -> None:
    backend = Fake(response("hello"))
    first = await asker(backend, store).ask(0, ask_for())
    again = await asker(backend, store).ask(0, ask_for())
    assert first == again
    assert (first.text, first.model, backend.calls) == ("hello", "shown", 1)
    await asker(backend, store).ask(0, ask_for(sample=1))
    assert backend.calls == 2


async def test_the_raw_answer_is_stored_before_anyone_reads_it(store: Store) -> None:
    raw = response("hi") | {"usage": {"prompt_tokens": 3}, "extra": [1]}
    request = ask_for()
    await asker(Fake(raw), store).ask(0, request)
    stored = store.get(request.key({"model": "shown"}))
    assert stored is not None
    assert json.loads(stored.answer) == raw


async def test_identical_questions_in_flight_are_asked_once(store: Store) -> None:
    backend = Fake(response("hello"))
    backend.gate.clear()
    engine = asker(backend, store)
    asking = [asyncio.ensure_future(engine.ask(i, ask_for())) for i in range(5)]
    await asyncio.sleep(0.01)
    backend.gate.set()
    assert {answer.text for answer in await asyncio.gather(*asking)} == {"hello"}
    assert backend.calls == 1


async def test_a_failure_is_shared_by_all_who_asked(store: Store) -> None:
    backend = Fake(Refused("bad_request", "no"))
    backend.gate.clear()
    engine = asker(backend, store)
    asking = [asyncio.ensure_future(engine.ask(i, ask_for())) for i in range(3)]
    await asyncio.sleep(0.01)
    backend.gate.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Refused] * 3
    assert backend.calls == 1


async def test_what_may_pass_is_tried_again_and_never_stored_as_a_failure(store: Store) -> None:
    backend = Fake(Unanswered("http_500", "x"), Unanswered("timeout", "y"), response("third time"))
    events: list[Event] = []
    answer = await asker(backend, store, events).ask(0, ask_for())
    assert answer.text == "third time"
    assert [event.final for event in events if isinstance(event, Failed)] == [False, False]


async def test_after_the_last_attempt_the_failure_is_the_rows(store: Store) -> None:
    backend = Fake(Unanswered("http_500", "x"))
    with pytest.raises(Unanswered):
        await asker(backend, store).ask(0, ask_for())
    assert backend.calls == 3
    backend.outcomes = [response("better now")]
    assert (await asker(backend, store).ask(0, ask_for())).text == "better now"


async def test_a_refused_question_is_not_asked_twice(store: Store) -> None:
    backend = Fake(Refused("content_filter", "no"))
    with pytest.raises(Refused):
        await asker(backend, store).ask(0, ask_for())
    assert backend.calls == 1


@pytest.mark.parametrize(("answers_before", "resumable"), [(0, False), (1, True)])
async def test_denial_stops_the_run(store: Store, answers_before: int, resumable: bool) -> None:
    backend = Fake(*[response("ok")] * answers_before, Denied("denied", "bad key"))
    engine = asker(backend, store)
    for i in range(answers_before):
        await engine.ask(0, ask_for(str(i)))
    with pytest.raises(Halt):
        await engine.ask(0, ask_for())
    assert isinstance(reason(engine), Denied)
    assert engine.ending is not None
    assert engine.ending.resumable is resumable


async def test_a_budget_is_never_passed(store: Store) -> None:
    backend = Fake(response("ok"))
    events: list[Event] = []
    engine = asker(backend, store, events, spending=Spending(max_requests=3))
    outcomes = await asyncio.gather(*(engine.ask(i, ask_for(str(i))) for i in range(6)), return_exceptions=True)
    assert backend.calls == 3
    assert sum(isinstance(outcome, Halt) for outcome in outcomes) == 3
    assert isinstance(reason(engine), BudgetReached)
    assert sum(isinstance(event, StopRequested) for event in events) == 1


async def test_a_stop_lets_calls_in_flight_finish_and_stores_them(store: Store) -> None:
    backend = Fake(response("late but stored"))
    backend.gate.clear()
    engine = asker(backend, store)
    asking = asyncio.ensure_future(engine.ask(0, ask_for()))
    await asyncio.sleep(0.01)
    engine.stop(BudgetReached("enough"))
    with pytest.raises(Halt):
        await engine.ask(1, ask_for("another"))
    backend.gate.set()
    assert (await asking).text == "late but stored"
    assert (await asker(backend, store, offline=True).ask(0, ask_for())).text == "late but stored"
    assert backend.calls == 1


async def test_a_stop_ends_the_pauses_between_attempts(store: Store) -> None:
    engine = asker(Fake(Unanswered("rate_limited", "x", retry_after=60.0)), store)
    asking = asyncio.ensure_future(engine.ask(0, ask_for()))
    await asyncio.sleep(0.01)
    engine.stop(BudgetReached("enough"))
    with pytest.raises(Halt):
        await asyncio.wait_for(asking, 30)


async def test_offline_asks_nothing(store: Store) -> None:
    backend = Fake(response("no"))
    engine = asker(backend, store, offline=True)
    with pytest.raises(Halt):
        await engine.ask(0, ask_for())
    assert backend.calls == 0
    assert isinstance(reason(engine), NotStored)


async def test_a_silent_teacher_stops_the_run_and_rejects_nothing(store: Store) -> None:
    engine = asker(Fake(ConnectionFailed("connection", "refused")), store, patience=0.05)
    with pytest.raises(Halt):
        await asyncio.wait_for(engine.ask(0, ask_for()), 30)
    assert isinstance(reason(engine), Unreachable)


async def test_a_teacher_that_was_never_there_is_given_up_in_time_whatever_the_pauses(store: Store) -> None:
    endless = Backoff(first=60.0, most=60.0)
    engine = asker(Fake(ConnectionFailed("connection", "refused")), store, patience=0.3, backoff=endless)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Halt):
        await asyncio.wait_for(engine.ask(0, ask_for()), 30)
    assert 0.3 <= asyncio.get_running_loop().time() - began < 5
    assert isinstance(reason(engine), Unreachable)


async def test_a_slow_first_answer_is_waited_for_although_the_first_connections_were_refused(store: Store) -> None:
    class Loading(Fake):
        async def complete(self, model: str, request: Request) -> Response:
            if self.calls < 2:
                self.calls += 1
                raise ConnectionFailed("connection", "refused")
            await asyncio.sleep(0.5)
            return await super().complete(model, request)

    engine = asker(Loading(response("at last")), store, patience=0.1, backoff=Backoff(first=0.01))
    assert (await asyncio.wait_for(engine.ask(0, ask_for()), 30)).text == "at last"
    assert engine.ending is None


async def test_a_question_that_breaks_the_connection_costs_its_own_row_alone(store: Store) -> None:
    class Poisoned(Fake):
        async def complete(self, model: str, request: Request) -> Response:
            await asyncio.sleep(0.001)
            if request.messages[0][1] == "poison":
                raise ConnectionFailed("connection", "reset")
            return await super().complete(model, request)

    engine = asker(Poisoned(response("ok")), store, backoff=Backoff(first=0.01))
    poison = asyncio.ensure_future(engine.ask(0, ask_for("poison")))
    for number in range(60):
        await engine.ask(1, ask_for(str(number)))
    with pytest.raises(ConnectionFailed):
        await asyncio.wait_for(poison, 30)
    assert engine.ending is None


async def test_a_store_that_can_not_be_written_stops_the_run_resumably() -> None:
    class Full:
        def get(self, key: bytes) -> Stored | None:
            return None

        def put(self, group: Sequence[tuple[bytes, str]]) -> list[Stored]:
            raise StoreError("the disk is full")

    engine = asker(Fake(response("ok")), Full())
    with pytest.raises(Halt):
        await engine.ask(0, ask_for())
    assert isinstance(reason(engine), StoreError)
    assert engine.ending is not None
    assert engine.ending.resumable


async def test_free_slots_go_to_the_lowest_position_first(store: Store) -> None:
    order: list[str] = []

    class Recording(Fake):
        async def complete(self, model: str, request: Request) -> Response:
            order.append(request.messages[0][1])
            return await super().complete(model, request)

    backend = Recording(response("ok"))
    backend.gate.clear()
    engine = asker(backend, store, concurrency=1)
    asking = []
    for position in (7, 3, 9, 1):
        asking.append(asyncio.ensure_future(engine.ask(position, ask_for(str(position)))))
        await asyncio.sleep(0)
    backend.gate.set()
    await asyncio.gather(*asking)
    assert order == ["7", "1", "3", "9"]


async def test_the_tally_counts_what_was_paid(store: Store) -> None:
    tally = Tally()
    raw = response("ok") | {"usage": {"prompt_tokens": 10, "completion_tokens": 5,
                                      "prompt_tokens_details": {"cached_tokens": 4}}}  # fmt: skip
    backend = Fake(Unanswered("timeout", "x"), raw)
    engine = asker(backend, store)
    engine._observe = tally
    await engine.ask(0, ask_for())
    await engine.ask(0, ask_for())
    assert (tally.requests, tally.answers, tally.replayed, tally.in_flight) == (2, 1, 1, 0)
    assert (tally.prompt_tokens, tally.completion_tokens, tally.cached_tokens) == (10, 5, 4)
    assert tally.failed_calls == {"timeout": 1}


def test_the_key_is_of_the_question_and_the_model() -> None:
    base = ask_for()
    same_for_another_role = Request("judge", base.messages)
    key = base.key({"model": "m"})
    assert key == same_for_another_role.key({"model": "m"})
    changes: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "presence_penalty": 1.0,
        "max_tokens": 5,
        "stop": ("x",),
        "schema": {"type": "object"},
        "sample": 1,
        "repeat": 1,
    }
    others = [
        base.key({"model": "n"}),
        base.key({"model": "m", "tag": "t"}),
        base.key({"model": "m", "sha256": "s"}),
        ask_for("other").key({"model": "m"}),
        *(ask_for(**{name: value}).key({"model": "m"}) for name, value in changes.items()),
    ]
    assert len({key, *others}) == len(others) + 1


def refused(words: str, rule: str = "bad_request") -> Refused:
    return Refused(rule, f"the endpoint refused the question ({words})", status=400, said=words)


class Mixed(Fake):
    """Refuses all questions but those with "slow" in them, which wait for the gate."""

    async def complete(self, model: str, request: Request) -> Response:
        if "slow" in request.messages[0][1]:
            return await super().complete(model, request)
        self.calls += 1
        await asyncio.sleep(0)
        raise refused(f"no, request {self.calls} of ab12{self.calls}")


@pytest.mark.parametrize("answered", [True, False])
async def test_after_twenty_refusals_nothing_is_sent_until_those_in_flight_are_back(
    store: Store, answered: bool
) -> None:
    backend = Mixed(response("fine") if answered else refused("no, request 7 of ab127"))
    backend.gate.clear()
    engine = asker(backend, store, concurrency=3)
    slow = asyncio.ensure_future(engine.ask(0, ask_for("slow")))
    rest = [asyncio.ensure_future(engine.ask(number, ask_for(f"q{number}"))) for number in range(1, 200)]
    await asyncio.sleep(0.2)
    assert sum(task.done() for task in rest) <= 22
    assert engine.ending is None
    backend.gate.set()
    outcomes = await asyncio.wait_for(asyncio.gather(slow, *rest, return_exceptions=True), 30)
    if answered:
        assert engine.ending is None
        assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 199
        assert engine.refused_alike() is None
    else:
        assert isinstance(reason(engine), Denied)
        assert str(reason(engine)).startswith("nothing but refusals: the endpoint refused the question (no, request")
        assert backend.calls <= 23


async def test_an_answer_from_the_store_lets_a_held_run_go_on(store: Store) -> None:
    await asker(Fake(response("known")), store).ask(0, ask_for("known"))
    backend = Mixed(refused("no, request 7 of ab127"))
    backend.gate.clear()
    engine = asker(backend, store, concurrency=3)
    slow = asyncio.ensure_future(engine.ask(0, ask_for("slow")))
    rest = [asyncio.ensure_future(engine.ask(number, ask_for(f"q{number}"))) for number in range(1, 60)]
    await asyncio.sleep(0.1)
    assert (await engine.ask(99, ask_for("known"))).text == "known"
    backend.gate.set()
    outcomes = await asyncio.wait_for(asyncio.gather(slow, *rest, return_exceptions=True), 30)
    assert all(isinstance(outcome, Refused) for outcome in outcomes)
    assert engine.ending is None


async def test_refusals_of_several_kinds_or_of_content_end_nothing(store: Store) -> None:
    for number, rules in enumerate((("bad_request", "content_filter"), ("context_length", "context_length"))):
        backend = Fake(*(refused("no", rules[each % 2]) for each in range(60)))
        engine = asker(backend, store)
        asking = (engine.ask(each, ask_for(f"{number} {each}")) for each in range(60))
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(outcome, Refused) for outcome in outcomes)
        assert engine.ending is None
        assert engine.refused_alike() is None


@pytest.mark.parametrize("damaged", ["{", "null", "[]", '{"choices": []}', '{"choices": [5]}', "[" * 100_000, ""])
async def test_a_damaged_answer_is_named_asked_again_and_replaced(store: Store, damaged: str) -> None:
    request = ask_for()
    events: list[Event] = []
    key = request.key({"model": "shown"})
    store.put([Entry(key, damaged)])
    backend = Fake(response("mended"))
    assert (await asker(backend, store, events).ask(0, request)).text == "mended"
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert notice.startswith(f"the stored answer of key {key.hex()[:16]} is damaged (")
    assert (await asker(backend, store).ask(0, request)).text == "mended"
    assert backend.calls == 1
    engine = asker(backend, store, offline=True)
    store.put([Entry(b"x" * 32, damaged)])
    assert (await engine.ask(0, request)).text == "mended"


async def test_an_unknown_end_is_said_once_and_a_known_one_is_not(store: Store) -> None:
    events: list[Event] = []
    engine = asker(Fake(response("half", "tired"), response("half", "tired"), response("whole")), store, events)
    answers = [await engine.ask(number, ask_for(str(number))) for number in range(3)]
    assert [answer.finish for answer in answers] == ["unknown", "unknown", "whole"]
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert "'tired'" in notice


async def test_a_budget_counts_what_earlier_runs_paid_for_the_output(store: Store) -> None:
    said = response("hi") | {"usage": {"prompt_tokens": 100, "completion_tokens": 100}}
    limits: dict[str, Any] = {"spending": Spending(max_total_tokens=2500), "output": "0123456789abcdef"}
    engine = asker(Fake(said), store, **limits)
    for number in range(10):
        await engine.ask(number, ask_for(str(number), max_tokens=150))
    assert store.spent("0123456789abcdef") == (2000, 0)
    again = asker(Fake(said), store, **limits)
    for number in range(12):
        await again.ask(number, ask_for(str(number), max_tokens=150))
    with pytest.raises(Halt):
        await again.ask(12, ask_for("12", max_tokens=150))
    assert "spent for this output in all runs: 2,400 of 2,500, and a call may take" in str(reason(again))
    other = asker(Fake(said), store, **limits | {"output": "another"})
    await other.ask(12, ask_for("12", max_tokens=150))


async def ask_one_after_the_other(engine: Asker, max_tokens: int) -> None:
    for number in range(20):
        await engine.ask(number, ask_for(str(number), max_tokens=max_tokens))


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": "many"}, {"prompt_tokens": 1e30, "completion_tokens": 2}]
)
async def test_a_count_that_can_not_be_is_reckoned_at_what_was_reserved(store: Store, usage: Any) -> None:
    engine = asker(Fake(response("hi") | {"usage": usage}), store, spending=Spending(max_total_tokens=1000))
    with pytest.raises(Halt):
        await ask_one_after_the_other(engine, 200)
    assert isinstance(reason(engine), BudgetReached)
    assert engine.answered == 4


async def test_reservations_learn_from_answers_that_took_more_than_they_should(store: Store) -> None:
    thinking = response("hi") | {"usage": {"prompt_tokens": 10, "completion_tokens": 500}}
    engine = asker(Fake(thinking), store, spending=Spending(max_total_tokens=2100))
    with pytest.raises(Halt):
        await ask_one_after_the_other(engine, 100)
    assert engine.answered == 4, "the fifth would have passed the limit"
    assert "a call may take 51" in str(reason(engine))
