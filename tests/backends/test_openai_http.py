from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import time
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from evolgen.asking import Answer, Request, read_answer, read_vector
from evolgen.backends import connection
from evolgen.backends.connection import within
from evolgen.backends.openai_http import OpenAIBackend, checked
from evolgen.backends.words import words_of
from evolgen.config.address import Address
from evolgen.errors import ConnectionFailed, Denied, Refused, TeacherError, Unanswered
from evolgen.usage import read_usage
from tests.teacher import Body, Reply, Teacher, completion

pytestmark = pytest.mark.anyio

CHAT = Request("evolve", (("system", "S"), ("user", "U")), temperature=0.5, top_p=0.9, max_tokens=7, stop=("X",))


async def ask(teacher: Teacher, request: Request = CHAT, timeout: float = 60.0) -> Any:
    backend = OpenAIBackend(teacher.address, lambda: "secret-key", timeout=timeout, connections=4)
    try:
        return await backend.complete("m", request)
    finally:
        await backend.close()


def replying(response: web.StreamResponse | Exception) -> Reply:
    async def reply(body: Body) -> web.StreamResponse:
        if isinstance(response, Exception):
            raise response
        return again(response)

    return reply


def again(response: web.StreamResponse) -> web.StreamResponse:
    """The same response: each can be sent once."""
    if not isinstance(response, web.Response):
        return response
    kept = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    return web.Response(body=response.body, status=response.status, headers=kept)


def error(status: int, message: str = "no", headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    return web.json_response({"error": {"message": message} | more}, status=status, headers=headers)


async def test_a_chat_is_asked_with_every_parameter_and_the_key(teacher: Teacher) -> None:
    response = await ask(teacher)
    assert teacher.calls[0] == {
        "model": "m",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["X"],
    }
    assert teacher.headers[0]["Authorization"] == "Bearer secret-key"
    assert not [name for name in teacher.headers[0] if name.lower().startswith("x-stainless-runtime")]
    assert response["form"] == {"path": "/chat/completions", "without": []}
    assert Answer.read(b"\x01" * 32, "m", response).text.startswith("The result is")


async def test_a_plain_completion_goes_to_its_own_path(teacher: Teacher) -> None:
    teacher.reply = replying(web.json_response({"choices": [{"text": "continued", "finish_reason": "stop"}]}))
    response = await ask(teacher, Request("answer", prompt="Once upon"))
    assert teacher.headers[0]["path"] == "/v1/completions"
    assert teacher.calls[0] == {"model": "m", "prompt": "Once upon"}
    assert Answer.read(b"", "m", response).text == "continued"


@pytest.mark.parametrize(
    ("response", "kind", "rule"),
    [
        (error(401), Denied, "denied"),
        (error(403), Denied, "denied"),
        (error(403, "your input was flagged by moderation"), Refused, "content_filter"),
        (error(404), Denied, "denied"),
        (error(402), Denied, "quota"),
        (error(429, code="insufficient_quota"), Denied, "quota"),
        (error(429), Unanswered, "rate_limited"),
        (error(408), Unanswered, "http_408"),
        (error(500), Unanswered, "http_500"),
        (web.Response(status=503, text="<html>"), Unanswered, "http_503"),
        (error(400, code="context_length_exceeded"), Refused, "context_length"),
        (error(400, "the request exceeds the available context size"), Refused, "context_length"),
        (error(400, code="content_filter"), Refused, "content_filter"),
        (error(400), Refused, "bad_request"),
        (error(422), Refused, "bad_request"),
        (web.Response(text="<html>hi</html>", content_type="text/html"), Unanswered, "malformed"),
        (web.Response(text='{"choices": [', content_type="application/json"), Unanswered, "malformed"),
        (web.Response(text="", content_type="application/json"), Unanswered, "malformed"),
        (web.json_response({"choices": []}), Unanswered, "no_choices"),
        (web.json_response({"choices": [None]}), Unanswered, "malformed"),
        (web.json_response({"choices": [{"message": None}]}), Unanswered, "malformed"),
        (web.json_response("text"), Unanswered, "malformed"),
    ],
)
async def test_each_failure_becomes_one_error(
    teacher: Teacher, response: web.Response, kind: type[Exception], rule: str
) -> None:
    teacher.reply = replying(response)
    with pytest.raises(kind) as caught:
        await ask(teacher)
    assert getattr(caught.value, "rule", None) == rule
    assert "secret-key" not in str(caught.value)
    assert type(caught.value) is kind


async def test_retry_after_is_read_as_seconds_and_as_a_date(teacher: Teacher) -> None:
    for value, least, most in [
        ("7", 7, 7),
        (email.utils.formatdate(time.time() + 600, usegmt=True), 500, 601),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 0),
    ]:
        teacher.reply = replying(error(429, headers={"Retry-After": value}))
        with pytest.raises(Unanswered) as caught:
            await ask(teacher)
        assert caught.value.retry_after is not None
        assert least <= caught.value.retry_after <= most
    teacher.reply = replying(error(503, headers={"Retry-After": "soon"}))
    with pytest.raises(Unanswered) as caught:
        await ask(teacher)
    assert caught.value.retry_after is None


async def test_no_answer_in_time_is_a_timeout(teacher: Teacher) -> None:
    async def hang(body: Body) -> web.StreamResponse:
        await asyncio.sleep(30)
        return completion("late")

    teacher.reply = hang
    with pytest.raises(Unanswered, match=r"no answer within 0\.2 s"):
        await ask(teacher, timeout=0.2)


async def test_a_slow_drip_is_a_timeout() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.02)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    backend = OpenAIBackend(
        Address(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"), lambda: "k", timeout=0.3, connections=1
    )
    with pytest.raises(Unanswered) as caught:
        await backend.complete("m", CHAT)
    assert caught.value.rule == "timeout"
    await backend.close()
    server.close()


async def test_a_broken_connection_is_a_connection_failure() -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"choi')
        writer.close()

    for handler in (drop, cut):
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        backend = OpenAIBackend(Address(f"http://127.0.0.1:{port}/v1"), lambda: "k", timeout=60, connections=1)
        with pytest.raises(ConnectionFailed):
            await backend.complete("m", CHAT)
        await backend.close()
        server.close()
        await server.wait_closed()
    refused = OpenAIBackend(Address("http://127.0.0.1:9/v1"), lambda: "k", timeout=60, connections=1)
    with pytest.raises(ConnectionFailed, match="the connection failed"):
        await refused.complete("m", CHAT)


async def test_a_refused_schema_is_learned_of_two_questions(teacher: Teacher) -> None:
    async def no_schemas(body: Body) -> web.StreamResponse:
        if "response_format" in body:
            return error(400, "response_format of type json_schema is not supported")
        return completion('{"a": 1}')

    teacher.reply = no_schemas
    backend = OpenAIBackend(teacher.address, lambda: "k", timeout=60, connections=1)
    request = Request("answer", (("user", "U"),), schema={"type": "object"})
    first = await backend.complete("m", request)
    for _ in range(2):
        await backend.complete("m", request)
    await backend.close()
    assert first["form"]["without"] == ["schema"]
    assert ["response_format" in body for body in teacher.calls] == [True, False, True, False, False]
    assert teacher.calls[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert json.dumps({"type": "object"}) in teacher.calls[1]["messages"][-1]["content"]


async def test_newer_models_get_the_parameters_that_they_take(teacher: Teacher) -> None:
    async def picky(body: Body) -> web.StreamResponse:
        if "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in body:
            return error(400, "Only the default is possible here", param="temperature")
        return completion("fine")

    teacher.reply = picky
    response = await ask(teacher)
    assert response["form"]["without"] == ["max_tokens", "temperature"]
    assert teacher.calls[-1]["max_completion_tokens"] == 7
    assert "top_p" in teacher.calls[-1]


@pytest.mark.parametrize("key", [None, "none", "temperature"])
async def test_a_refusal_that_names_the_key_is_learned_from_all_the_same(teacher: Teacher, key: str | None) -> None:
    async def picky(body: Body) -> web.StreamResponse:
        if "temperature" in body:
            return error(400, "unsupported: none of these models takes temperature", param="temperature")
        return completion("fine")

    teacher.reply = picky
    backend = OpenAIBackend(teacher.address, lambda: key, timeout=60, connections=1)
    response = await backend.complete("m", CHAT)
    await backend.close()
    assert response["form"]["without"] == ["temperature"]


async def test_without_a_key_nothing_is_blacked_out_and_errors_carry_what_was_said(teacher: Teacher) -> None:
    async def refuse(body: Body) -> web.StreamResponse:
        return error(400, "none of your business", param="top_k")

    teacher.reply = refuse
    backend = OpenAIBackend(teacher.address, lambda: None, timeout=60, connections=1)
    with pytest.raises(Refused, match="none of your business") as caught:
        await backend.complete("m", CHAT)
    await backend.close()
    assert (caught.value.status, caught.value.param) == (400, "top_k")
    assert "none of your business" in caught.value.said
    assert caught.value.__cause__ is not None


async def test_a_400_that_persists_is_a_refusal_and_no_endless_loop(teacher: Teacher) -> None:
    async def refuse(body: Body) -> web.StreamResponse:
        return error(400, "unsupported temperature max_tokens top_p stop")

    teacher.reply = refuse
    with pytest.raises(Refused):
        await ask(teacher)
    assert len(teacher.calls) <= 9


async def test_loopback_is_never_proxied(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await ask(teacher)
    assert len(teacher.calls) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "message", "content", "text", "error", "finish_reason", "usage", "prompt_tokens", "refusal",
             "form", "without", "completion_tokens", "detail", "loc", "msg", "code", "cached_tokens"]
        ) | st.text(max_size=5),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip
CHOICES = st.fixed_dictionaries({"choices": st.lists(JSON | st.fixed_dictionaries({"message": JSON}), max_size=2)})


@given(JSON | CHOICES)
async def test_whatever_comes_is_an_answer_or_a_failed_attempt(said: Any) -> None:
    words_of(said)
    read_usage(said)
    try:
        response = checked(said)
    except TeacherError as error:
        fate = error.rule
    else:
        answer = read_answer(b"k" * 32, "m", json.dumps(response))
        fate = answer.finish
    assert fate in ("whole", "cut", "filtered", "unknown", "malformed", "no_choices", "error", "broken_off")


@given(JSON | CHOICES | st.text())
async def test_whatever_is_stored_is_an_answer_or_damaged(said: Any) -> None:
    for stored in (json.dumps(said), said if isinstance(said, str) else "[" * 10_000):
        with contextlib.suppress(ValueError):
            assert isinstance(read_answer(b"k" * 32, "m", stored), Answer)
        with contextlib.suppress(ValueError):
            assert isinstance(read_vector(stored), bytes)


async def test_a_call_goes_on_after_the_program_was_stopped_for_a_while() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError):
        async with within(0.05):
            await asyncio.sleep(60)
    assert loop.time() - begun < 30
    async with within(0.2):
        answer = asyncio.ensure_future(asyncio.sleep(0.25, "it lay in the socket"))
        await asyncio.sleep(0)
        time.sleep(1.6)  # noqa: ASYNC251  # as a laptop's lid does
        assert await answer == "it lay in the socket"


async def test_a_tls_handshake_that_never_ends_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTING", 0.2)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend = OpenAIBackend(Address(f"https://127.0.0.1:{port}/v1"), lambda: "k", timeout=60, connections=1)
    with pytest.raises(ConnectionFailed, match=r"did not stand within 0\.2 s"):
        await backend.complete("m", CHAT)
    await backend.close()
    server.close()
    await server.wait_closed()
