"""Embeddings through the engine: paid once, stored a key a text, and one bad text costs itself alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from evolgen.answers import Stored
from evolgen.asking import EmbeddingRequest, Request, read_vector
from evolgen.backends import Limits
from evolgen.backends import Teacher as Way
from evolgen.backends.openai_http import OpenAIBackend
from evolgen.backends.scripted import ScriptedBackend, response
from evolgen.backends.teachers import Teachers
from evolgen.config import Endpoint
from evolgen.engine.ask import Asker, Halt
from evolgen.engine.budget import Spending
from evolgen.engine.embed import TEXTS, Embedded, embed, embed_all
from evolgen.engine.ending import DONE
from evolgen.errors import BudgetReached, Denied, NotStored, Refused, Stopped, StoreError, Unanswered, UsageError
from evolgen.events import Asked, Event, Failed, StopRequested
from evolgen.pauses import Backoff
from evolgen.report.tally import Tally
from evolgen.store import Store
from tests.teacher import Body, Teacher, embeddings, refusal, vector_of

pytestmark = pytest.mark.anyio

QUICK = Backoff(first=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


@asynccontextmanager
async def asking(
    teacher: Teacher, store: Any, events: list[Event] | None = None, *, concurrency: int = 4, **limits: Any
) -> AsyncIterator[Asker]:
    backend = OpenAIBackend(teacher.address, lambda: "k", timeout=60, connections=concurrency)
    way = Way("m", "m", {"model": "m"}, (backend,), Limits(concurrency), limits.pop("characters", 100_000))
    settings: dict[str, Any] = {"attempts": 3, "backoff": QUICK} | limits
    asker = Asker(store, {"embed": way}, (events if events is not None else []).append, **settings)
    try:
        yield asker
    finally:
        asker.close()
        await backend.close()


async def run(teacher: Teacher, store: Store, texts: Sequence[str], **more: Any) -> Embedded:
    async with asking(teacher, store, **more) as asker:
        return await embed_all(asker, texts)


def numbered(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


def expected(texts: Sequence[str]) -> Any:
    return np.array([vector_of(text) for text in texts], np.float32)


def refusing(*bad: str, status: int = 400, message: str = "maximum context length is 9 tokens") -> Any:
    async def reply(body: Body) -> web.StreamResponse:
        return refusal(status, message) if set(bad) & set(body["input"]) else embeddings(body)

    return reply


async def test_texts_go_out_in_few_calls_and_come_back_as_rows(teacher: Teacher, store: Store) -> None:
    texts = numbered(600)
    tally = Tally()
    async with asking(teacher, store) as asker:
        asker._observe = tally
        embedded = await embed_all(asker, texts)
    assert embedded.vectors.dtype == np.float32
    assert np.array_equal(embedded.vectors, expected(texts))
    assert embedded.failed == {}
    assert sorted(len(call["input"]) for call in teacher.calls) == [600 - 2 * TEXTS, TEXTS, TEXTS]
    assert (tally.requests, tally.answers, tally.in_flight, tally.prompt_tokens) == (3, 600, 0, 600)


async def test_a_second_run_asks_nothing_and_gives_the_same(teacher: Teacher, store: Store) -> None:
    texts = numbered(300)
    first = await run(teacher, store, texts)
    paid = len(teacher.calls)
    events: list[Event] = []
    again = await run(teacher, store, texts[::-1], events=events, offline=True)
    assert np.array_equal(again.vectors, first.vectors[::-1])
    assert (len(teacher.calls), len(events)) == (paid, 300)
    await run(teacher, store, ["a new one", *texts])
    assert teacher.calls[paid:] == [{"model": "m", "input": ["a new one"], "encoding_format": "base64"}]


async def test_identical_texts_are_paid_once(teacher: Teacher, store: Store) -> None:
    texts = ["same", "other", "same", "same"]
    embedded = await run(teacher, store, texts)
    assert [call["input"] for call in teacher.calls] == [["same", "other"]]
    assert np.array_equal(embedded.vectors, expected(texts))


async def test_a_call_is_bounded_in_characters(teacher: Teacher, store: Store) -> None:
    texts = ["a" * 40, "b" * 40, "c" * 40, "d" * 300, "e"]
    await run(teacher, store, texts, characters=100, concurrency=1)
    assert [[text[0] for text in call["input"]] for call in teacher.calls] == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_what_is_stored_is_compact_and_says_once_what_the_call_was(teacher: Teacher, store: Store) -> None:
    await run(teacher, store, ["one", "two"])
    keys = [EmbeddingRequest(text).key({"model": "m"}) for text in ("one", "two")]
    stored = [answer.answer for key in keys if (answer := store.get(key))]
    assert np.array_equal(np.frombuffer(read_vector(stored[1]), "<f4"), expected(["two"])[0])
    first, second = map(json.loads, stored)
    assert first["call"] == {
        "model": "m",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
        "form": {"path": "/embeddings", "without": []},
        "texts": 2,
    }
    assert list(second) == ["embedding"]


async def test_one_refused_text_costs_itself_alone(teacher: Teacher, store: Store) -> None:
    texts = numbered(300)
    teacher.reply = refusing(texts[77])
    events: list[Event] = []
    embedded = await run(teacher, store, texts, events=events)
    assert list(embedded.failed) == [77]
    assert isinstance(embedded.failed[77], Refused)
    assert embedded.failed[77].rule == "context_length"
    assert not embedded.vectors[77].any()
    rest = [i for i in range(300) if i != 77]
    assert np.array_equal(embedded.vectors[rest], expected(texts)[rest])
    assert len(teacher.calls) == 2 + 2 * 8
    finals = [event.final for event in events if isinstance(event, Failed)]
    assert finals == [False] * 8 + [True]
    paid = len(teacher.calls)
    await run(teacher, store, texts)
    assert [call["input"] for call in teacher.calls[paid:]] == [[texts[77]]]


@pytest.mark.parametrize("place", [0, 77, 299])
async def test_one_text_that_the_endpoint_breaks_on_costs_itself_alone(
    teacher: Teacher, store: Store, place: int
) -> None:
    texts = numbered(300)
    teacher.reply = refusing(texts[place], status=500, message="json: unsupported value: NaN")
    embedded = await run(teacher, store, texts, concurrency=1)
    assert list(embedded.failed) == [place]
    assert isinstance(embedded.failed[place], Unanswered)
    assert len(teacher.calls) <= 3 + 2 + 3 * 8


async def test_an_endpoint_that_breaks_on_everything_is_not_asked_for_every_text(
    teacher: Teacher, store: Store
) -> None:
    texts = numbered(4 * TEXTS)
    teacher.reply = refusing(*texts, status=500, message="oops")
    embedded = await run(teacher, store, texts)
    assert len(embedded.failed) == len(texts)
    assert embedded.vectors.shape == (len(texts), 0)
    assert len(teacher.calls) < 64


async def test_an_endpoint_that_takes_fewer_texts_is_learned(teacher: Teacher, store: Store) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        return refusal(413, "too many inputs") if len(body["input"]) > 32 else embeddings(body)

    teacher.reply = reply
    texts = numbered(4 * TEXTS)
    embedded = await run(teacher, store, texts, concurrency=1)
    assert embedded.failed == {}
    assert np.array_equal(embedded.vectors, expected(texts))
    assert sum(len(call["input"]) > 32 for call in teacher.calls) == 3


async def test_a_model_that_embeds_nothing_is_found_out_in_few_calls(teacher: Teacher, store: Store) -> None:
    texts = numbered(TEXTS)
    teacher.reply = refusing(*texts, message="the model does not support the Embeddings API")
    with pytest.raises(Denied, match=r"gives no embeddings .*does not support"):
        await run(teacher, store, texts)
    assert len(teacher.calls) < 40


async def test_texts_without_a_word_are_not_asked_for(teacher: Teacher, store: Store) -> None:
    embedded = await run(teacher, store, ["", "a", " \n"])
    assert [call["input"] for call in teacher.calls] == [["a"]]
    assert {row: error.rule for row, error in embedded.failed.items()} == {0: "no_text", 2: "no_text"}
    nothing = await run(teacher, store, [])
    assert nothing.vectors.shape == (0, 0)


FAULTS: list[Callable[[Body], web.Response]] = [
    lambda body: refusal(429, "slow down", {"Retry-After": "0"}),
    lambda body: refusal(500, "oops"),
    lambda body: web.Response(text='{"data": [', content_type="application/json"),
    lambda body: embeddings(body | {"input": body["input"][1:]}),
    lambda body: embeddings(body | {"input": [*body["input"], "one more"]}),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_may_pass_is_tried_again_and_then_given_up_for_now(
    teacher: Teacher, store: Store, fault: Any
) -> None:
    healthy_from = 3

    async def reply(body: Body) -> web.StreamResponse:
        broken = len(teacher.calls) < healthy_from
        return fault(body) if broken else embeddings(body)

    teacher.reply = reply
    texts = numbered(5)
    embedded = await run(teacher, store, texts)
    assert np.array_equal(embedded.vectors, expected(texts))
    assert len(teacher.calls) == 3
    healthy_from = 100
    embedded = await run(teacher, store, [*texts, "new", "newer"])
    assert [type(error) for error in embedded.failed.values()] == [Unanswered] * 2
    assert list(embedded.failed) == [5, 6]
    assert np.array_equal(embedded.vectors[:5], expected(texts))


async def test_a_budget_counts_calls_and_the_next_run_goes_on(teacher: Teacher, store: Store) -> None:
    texts = numbered(5 * TEXTS)
    events: list[Event] = []
    with pytest.raises(BudgetReached):
        await run(teacher, store, texts, events=events, spending=Spending(max_requests=3))
    assert len(teacher.calls) == 3
    assert sum(isinstance(event, StopRequested) for event in events) == 1
    await run(teacher, store, texts)
    asked = [text for call in teacher.calls for text in call["input"]]
    assert (len(teacher.calls), len(asked), len(set(asked))) == (5, len(texts), len(texts))


async def test_a_stop_lets_calls_in_flight_finish_and_stores_them(teacher: Teacher, store: Store) -> None:
    texts = numbered(5 * TEXTS)
    async with asking(teacher, store, concurrency=2) as asker:

        async def reply(body: Body) -> web.StreamResponse:
            if len(teacher.calls) == 2:
                loop.call_soon_threadsafe(asker.stop, BudgetReached("enough"))
            await asyncio.sleep(0.2)
            return embeddings(body)

        loop = asyncio.get_running_loop()
        teacher.reply = reply
        with pytest.raises(BudgetReached):
            await embed_all(asker, texts)
    assert len(teacher.calls) == 2
    await run(teacher, store, texts[: 2 * TEXTS], offline=True)


async def test_offline_asks_nothing(teacher: Teacher, store: Store) -> None:
    with pytest.raises(NotStored, match=r"--offline: the store has no answer to a question \(embed, key"):
        await run(teacher, store, ["a"], offline=True)
    assert teacher.calls == []


async def test_denial_stops_at_once(teacher: Teacher, store: Store) -> None:
    teacher.reply = refusing("a", status=401, message="bad key")
    with pytest.raises(Denied) as caught:
        await run(teacher, store, ["a"])
    assert not isinstance(caught.value, Stopped)


async def test_vectors_of_different_lengths_are_an_error(teacher: Teacher, store: Store) -> None:
    await run(teacher, store, ["a"])

    async def reply(body: Body) -> web.StreamResponse:
        return web.json_response({"data": [{"index": 0, "embedding": [1.0, 2.0]}]})

    teacher.reply = reply
    with pytest.raises(UsageError, match=r"the embeddings of m differ in length \(8 and 2 numbers\).*--model-tag"):
        await run(teacher, store, ["a", "b"])


async def test_a_store_that_can_not_be_written_stops_the_run_resumably(teacher: Teacher) -> None:
    class Full:
        def get(self, key: bytes) -> Stored | None:
            return None

        def put(self, group: Sequence[tuple[bytes, str]]) -> list[Stored]:
            raise StoreError("the disk is full")

    with pytest.raises(Stopped, match="the disk is full"):
        await run(teacher, Full(), numbered(3))  # type: ignore[arg-type]


async def test_a_pipeline_hears_of_each_text_and_is_halted(teacher: Teacher, store: Store) -> None:
    heard: dict[str, Any] = {}
    async with asking(teacher, store) as asker:
        await embed(asker, ["a", "b", "a"], heard.__setitem__)
        assert list(heard) == ["a", "b"]
        asker.end(DONE)
        await embed(asker, ["b"], heard.__setitem__)
        with pytest.raises(Halt):
            await embed(asker, ["c"], heard.__setitem__)


async def test_calls_share_the_slots_and_run_side_by_side(teacher: Teacher, store: Store) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return embeddings(body)

    teacher.reply = reply
    events: list[Event] = []
    await run(teacher, store, numbered(12), events=events, characters=1, concurrency=3)
    assert teacher.most_in_flight == 3
    assert [(event.role, event.attempt) for event in events if isinstance(event, Asked)] == [("embed", 1)] * 12


async def test_a_scripted_teacher_embeds_by_name(store: Store) -> None:
    teachers = Teachers(Endpoint(), fetching=lambda *told: None, script=lambda request: response("unused"))
    way = teachers.get(teachers.default)
    asker = Asker(store, {"embed": way}, lambda event: None, attempts=1)
    near, nearer, far = (await embed_all(asker, ["Bake a bread.", "bake bread", "Stocks fell."])).vectors
    assert isinstance(way.backends[0], ScriptedBackend)
    assert near @ nearer > 0.7
    assert near @ far < 0.1
    asker.close()
    await teachers.close()


def test_the_key_of_an_embedding() -> None:
    key = EmbeddingRequest("Name a river.").key({"model": "m"})
    assert key.hex() == "87bb1616f60b14bac1e9c75e74920793663feb7c2e05fa5f2966bd45b9c48877"
    others = [
        EmbeddingRequest("Name a river").key({"model": "m"}),
        EmbeddingRequest("Name a river.").key({"model": "n"}),
        EmbeddingRequest("Name a river.").key({"model": "m", "tag": "t"}),
        Request("answer", prompt="Name a river.").key({"model": "m"}),
        Request("answer", (("user", "Name a river."),)).key({"model": "m"}),
    ]
    assert len({key, *others}) == len(others) + 1
