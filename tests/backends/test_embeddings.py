"""Embeddings over real HTTP: what is asked, what counts as an answer, and what every failure becomes."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from aiohttp import web

from evolgen.backends import Embeddings
from evolgen.backends.openai_http import OpenAIBackend
from evolgen.backends.scripted import ScriptedBackend, response, word_vector
from evolgen.errors import Denied, Refused, Unanswered
from tests.teacher import Body, Teacher, embeddings, refusal, vector_of

pytestmark = pytest.mark.anyio

TEXTS = ["one", "two", "three"]


async def embed(teacher: Teacher, *calls: list[str]) -> list[Embeddings]:
    backend = OpenAIBackend(teacher.address, lambda: "secret-key", timeout=60, connections=4)
    try:
        return [await backend.embed("m", texts) for texts in calls]
    finally:
        await backend.close()


def packed(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def data(*vectors: Any, **more: Any) -> web.Response:
    entries = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return web.json_response({"object": "list", "data": entries} | more)


async def test_texts_are_asked_for_in_one_call_and_come_back_in_order(teacher: Teacher) -> None:
    (answer,) = await embed(teacher, TEXTS)
    assert teacher.calls == [{"model": "m", "input": TEXTS, "encoding_format": "base64"}]
    assert teacher.headers[0]["path"] == "/v1/embeddings"
    assert teacher.headers[0]["Authorization"] == "Bearer secret-key"
    assert answer.vectors == [packed(vector_of(text)) for text in TEXTS]
    assert answer.call == {
        "model": "m",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "form": {"path": "/embeddings", "without": []},
    }


async def test_refused_base64_is_learned(teacher: Teacher) -> None:
    async def floats_only(body: Body) -> web.StreamResponse:
        if "encoding_format" in body:
            return refusal(422, "body.encoding_format: Input should be 'float'")
        return embeddings(body)

    teacher.reply = floats_only
    first, second = await embed(teacher, TEXTS, ["four"])
    assert ["encoding_format" in body for body in teacher.calls] == [True, False, True, False]
    assert first.vectors == [packed(vector_of(text)) for text in TEXTS]
    assert second.call["form"]["without"] == ["encoding_format"]


async def test_a_text_that_utf8_can_not_hold_costs_no_other_its_vector(teacher: Teacher) -> None:
    (answer,) = await embed(teacher, ["a\ud800b", "fine"])
    assert teacher.calls[0]["input"] == ["a\\ud800b", "fine"]
    assert answer.vectors[1] == packed(vector_of("fine"))


GOOD = base64.b64encode(packed([1.0, 2.0])).decode()


@pytest.mark.parametrize(
    "answer",
    [
        data(GOOD, GOOD),
        data(GOOD, GOOD, GOOD, GOOD),
        data(GOOD, GOOD, [1.0]),
        data(GOOD, GOOD, []),
        data(GOOD, GOOD, ""),
        data(GOOD, GOOD, "AAAA"),
        data(GOOD, GOOD, "not base64"),
        data(GOOD, GOOD, None),
        data(GOOD, GOOD, [1.0, None]),
        data(GOOD, GOOD, [1.0, "2"]),
        data(GOOD, GOOD, [1.0, True]),
        data(GOOD, GOOD, [1.0, [2.0]]),
        data(GOOD, GOOD, [1.0, float("nan")]),
        data(GOOD, GOOD, [1.0, 1e39]),
        data(GOOD, GOOD, [1.0, 10**400]),
        data(GOOD, GOOD, base64.b64encode(packed([1.0, float("inf")])).decode()),
        web.json_response({"data": [{"index": i, "embedding": GOOD} for i in (0, 1, 1)]}),
        web.json_response({"data": [{"index": i, "embedding": GOOD} for i in (1, 2, 3)]}),
        web.json_response({"data": [{"index": str(i), "embedding": GOOD} for i in range(3)]}),
        web.json_response({"data": [{"index": [i], "embedding": GOOD} for i in range(3)]}),
        web.json_response({"data": [GOOD, GOOD, GOOD]}),
        web.json_response({"data": None}),
        web.json_response({"choices": []}),
        web.json_response([GOOD, GOOD, GOOD]),
        web.json_response("text"),
        web.Response(text='{"data": [', content_type="application/json"),
        web.Response(text="<html>hi</html>", content_type="text/html"),
    ],
)
async def test_a_malformed_answer_is_no_answer(teacher: Teacher, answer: web.Response) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        return answer

    teacher.reply = reply
    with pytest.raises(Unanswered) as caught:
        await embed(teacher, TEXTS)
    assert caught.value.rule == "malformed"


async def test_answers_without_index_are_in_order_and_whole_numbers_are_numbers(teacher: Teacher) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        return web.json_response({"data": [{"embedding": [i, 1]} for i in range(3)], "extra": 1})

    teacher.reply = reply
    (answer,) = await embed(teacher, TEXTS)
    assert answer.vectors == [packed([float(i), 1.0]) for i in range(3)]


@pytest.mark.parametrize(
    ("answer", "kind", "rule"),
    [
        (refusal(401, "no"), Denied, "denied"),
        (refusal(404, "no such model"), Denied, "denied"),
        (refusal(501, "This server does not support embeddings."), Denied, "denied"),
        (refusal(429, "slow down"), Unanswered, "rate_limited"),
        (refusal(500, "oops"), Unanswered, "http_500"),
        (refusal(400, "maximum context length is 512 tokens"), Refused, "context_length"),
        (refusal(500, "input (600 tokens) is too large to process."), Refused, "context_length"),
        (refusal(413, "batch size too large"), Refused, "bad_request"),
    ],
)
async def test_each_failure_becomes_one_error(
    teacher: Teacher, answer: web.Response, kind: type[Exception], rule: str
) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        return answer

    teacher.reply = reply
    with pytest.raises(kind) as caught:
        await embed(teacher, TEXTS)
    assert getattr(caught.value, "rule", None) == rule


async def test_a_script_embeds_words_or_what_it_is_told() -> None:
    backend = ScriptedBackend(lambda request: response("unused"))
    texts = ["Bake a bread.", "bake A bread", "?!", ""]
    answer = await backend.embed("m", texts)
    assert answer.vectors[0] == answer.vectors[1]
    assert answer.vectors == (await backend.embed("m", texts)).vectors
    assert {len(vector) for vector in answer.vectors} == {4 * len(word_vector("x"))}
    told = ScriptedBackend(lambda request: response("unused"), embedding=lambda text: [len(text), 0.5])
    assert (await told.embed("m", ["abc"])).vectors == [packed([3.0, 0.5])]
