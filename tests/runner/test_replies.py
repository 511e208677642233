"""Whatever an endpoint sends for an answer is read or told, and nothing it sends is a surprise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from evolgen.cli.chat import _turn
from evolgen.commands.chatting import open_chat
from evolgen.errors import EvolgenError, ModelError
from evolgen.records import inert
from evolgen.runner.chat import Chat
from evolgen.runner.replies import Event, pieces, read
from tests.program import evolgen
from tests.teacher import Body, Teacher

FAILS = "the endpoint failed: "


def stream(*events: Any, done: bool = True) -> bytes:
    sent = [event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() for event in events]
    return b"".join(event + b"\n\n" for event in [*sent, *([b"data: [DONE]"] if done else [])])


def chunk(end: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": end, **fields}]}


def delta(content: Any, **fields: Any) -> dict[str, Any]:
    return chunk(delta={"content": content, **fields})


def message(content: Any) -> dict[str, Any]:
    return chunk(message={"role": "assistant", "content": content})


HI = delta("Hi")
USAGE = {"choices": [], "usage": {"completion_tokens": 7}}

SENT: dict[str, tuple[bytes, str, str]] = {
    "a delta that is null, a list or missing": (stream(chunk(delta=None), chunk(delta=[]), chunk(), HI), "Hi", ""),
    "choices empty, null or missing": (stream(USAGE, {"choices": None}, {}, None, HI, {"choices": [None]}), "Hi", ""),
    "contents": (stream(delta(None), delta([{"type": "text", "text": "a"}, "b"]), delta(42)), "ab42", ""),
    "usage of any kind": (stream(HI, {"usage": []}, {"usage": "7"}, {"usage": {"completion_tokens": "7"}}), "Hi", ""),
    "thinking": (stream(delta(None, reasoning_content="hm"), delta([{"type": "thinking", "text": "h"}]), HI), "Hi", ""),
    "a refusal": (stream(chunk(delta={"content": None, "refusal": "No."})), "No.", ""),
    "half a character": (stream(b'data: {"choices": [{"delta": {"content": "\\ud800"}}]}'), "\\ud800", ""),
    "a completion's text": (stream(chunk(text="Hi")), "Hi", ""),
    "messages": (stream(message("Hi"), message("Hi there"), message("!"), done=False), "Hi there!", ""),
    "a message that was sent before": (stream(HI, delta(" there"), message("Hi there")), "Hi there", ""),
    "no [DONE]": (stream(HI, chunk("stop", delta={}), done=False), "Hi", ""),
    "no end": (stream(HI, done=False), "Hi", "the stream ended without a word that the answer is whole"),
    "no last line end": (stream(HI, chunk("stop"), done=False).rstrip(), "Hi", ""),
    "other line ends": (b"\xef\xbb\xbf: hello\r\nid: 1\r\n" + stream(HI).replace(b"\n", b"\r\n"), "Hi", ""),
    "lines of data": (stream(b'data: {"choices":\ndata: [{"delta": {"content": "Hi"}}]}', b"data:"), "Hi", ""),
    "lines that are none": (stream(delta("a\u2028b\x85c")), "a\u2028b\x85c", ""),
    "an error at once": (stream({"error": {"message": "too\nmany"}}), "", f"{FAILS}too many"),
    "an error later": (stream(HI, {"error": "overloaded"}), "Hi", f"{FAILS}overloaded"),
    "an error in a list": (stream(HI, {"error": [{"message": "m"}]}), "Hi", f"{FAILS}m"),
    "an error without words": (stream(HI, {"error": {"code": 7}}), "Hi", FAILS + '{"error": {"code": 7}}'),
    "an error in a choice": (stream(chunk("error", error={"message": "m"}, delta={})), "", f"{FAILS}m"),
    "an error by its event": (stream(b'event: error\ndata: {"message": "m"}'), "", f"{FAILS}m"),
    "an error by its object": (stream({"object": "error", "message": "m", "code": 400}), "", f"{FAILS}m"),
    "a filter": (stream(HI, chunk("content_filter", delta={})), "Hi", "the endpoint ended the answer: content_filter"),
    "broken JSON": (stream(HI, b'data: {"choices": [{"de'), "Hi", 'the endpoint sent what can\'t be read: {"choices"'),
    "a number": (stream(HI, 7), "Hi", "the endpoint sent what can't be read: 7"),
    "a content that is none": (stream(delta(True)), "", 'the endpoint sent what can\'t be read: {"choices"'),
    "deep": (stream(b"data: " + b"[" * 10**5), "", "the endpoint sent what can't be read: [[["),
    "a completion": (json.dumps(message("Hi") | {"usage": None}, indent=2).encode(), "Hi", ""),
    "a filtered completion": (json.dumps(chunk("content_filter", message={"content": "H"})).encode(), "H",
                              "the endpoint ended the answer: content_filter"),
    "an error for a body": (b'{"error": "no such model"}', "", f"{FAILS}no such model"),
    "a list for a body": (b'[{"error": {"message": "no key"}}]', "", "sent no answer (check --base-url): no key"),
    "another object": (b'{"status": "ok"}', "", 'sent no answer (check --base-url): {"status": "ok"}'),
    "a page": (b"<!DOCTYPE html>\n<p>Welcome</p>", "", "(check --base-url): <!DOCTYPE html> <p>Welcome</p>"),
    "words": (b"Not today", "", "the endpoint sent no answer (check --base-url): Not today"),
    "nothing": (b"", "", "the endpoint sent no answer (check --base-url)"),
    "no text": (stream(delta("")), "", "the model gave an empty answer"),
    "thinking only": (stream(delta(None, reasoning="hm"), chunk("length")), "", "used up its tokens before it said"),
}  # fmt: skip


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("size", [3, 10**6])
def test_what_was_sent_is_read_or_told(name: str, size: int) -> None:
    body, text, problem = SENT[name]
    chat = _chat(body, size)
    assert _asked(chat) == (text, "") if not problem else problem in _asked(chat)[1]
    assert _asked(_chat(body, size))[0] == text
    assert [turn["content"] for turn in chat.turns] == (["A?", text] if text else [])
    assert chat.speed is None or (chat.speed > 0 and len(text) > 1)


def test_an_answer_in_one_piece_has_no_speed() -> None:
    chat = _chat(json.dumps(message("Hi there") | {"usage": {"completion_tokens": 2}}).encode(), 5)
    assert _asked(chat) == ("Hi there", "")
    assert chat.speed is None


def test_an_old_answer_stays_where_none_comes() -> None:
    chat = _chat(b"Not today", 10)
    chat.turns = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}]
    with pytest.raises(ModelError):
        list(chat.ask_again())
    assert [turn["content"] for turn in chat.turns] == ["A?", "B."]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("error"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["choices", "delta", "message", "content", "text", "type", "error", "usage", "completion_tokens",
         "finish_reason", "object", "detail"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip

NEARLY = (
    ANYTHING | st.builds(delta, ANYTHING) | st.builds(message, ANYTHING) | st.builds(chunk, ANYTHING, delta=ANYTHING)
)


@given(st.lists(NEARLY, max_size=3), st.booleans())
def test_any_json_in_a_stream_or_for_a_body(values: list[Any], done: bool) -> None:
    for body in (stream(*values, done=done), json.dumps(values).encode(), *(json.dumps(v).encode() for v in values)):
        _read(body)


@given(st.binary(max_size=60), st.sampled_from([b"", b"data: ", b"event: error\ndata:", b'{"choices": [']))
def test_any_bytes(body: bytes, before: bytes) -> None:
    _read(before + body)


@given(NEARLY, st.sampled_from(["", "error"]), st.booleans())
def test_any_event_is_a_piece(value: Any, name: str, only: bool) -> None:
    piece = read(Event(json.dumps(value), name, only))
    piece.text.encode()
    assert 0 <= piece.tokens <= 10**9
    assert "\n" not in piece.problem


def test_a_secret_is_hidden_before_words_are_cut() -> None:
    body = stream({"error": "x" * 195 + "sk-canary"})
    with pytest.raises(ModelError) as told:
        list(pieces([body], lambda text: text.replace("sk-canary", "***")))
    assert "sk-" not in str(told.value)


@pytest.mark.parametrize("name", ["an error later", "a page", "words", "a filter", "broken JSON", "a completion"])
def test_a_question_from_a_pipe(teacher: Teacher, name: str) -> None:
    body, text, problem = SENT[name]
    teacher.reply = _sends(body)
    done = evolgen("chat", "m", "--base-url", teacher.url, stdin=b"A?")
    assert done.returncode == (2 if problem else 0)
    assert done.stdout == (f"{text}\n" if text else "")
    assert done.stderr.startswith("evolgen: " if problem else "")
    assert problem in done.stderr
    assert done.stderr.count("\n") == bool(problem)


def test_a_session_goes_on_whatever_was_sent(teacher: Teacher, capsys: pytest.CaptureFixture[str]) -> None:
    with open_chat("m", base_url=teacher.url) as chat:
        for body, text, problem in SENT.values():
            teacher.reply = _sends(body)
            _turn(chat, "A?")
            told = capsys.readouterr()
            assert told.out == (f"{inert(text)}\n" if text else "")
            assert problem in told.err
        assert {turn["content"] for turn in chat.turns} == {"A?", *(text for _, text, _ in SENT.values() if text)}


def test_what_an_endpoint_says_with_an_error_status(teacher: Teacher) -> None:
    for body in (b"", b"<html>", b'"no"', b"[]", b'{"error": [1]}', b'{"error": {"message": {"a": 1}, "code": []}}'):
        teacher.reply = _sends(body, 400)
        with open_chat("m", base_url=teacher.url) as chat, pytest.raises(EvolgenError, match="HTTP 400"):
            list(chat.ask("A?"))


def test_a_connection_that_drops_in_the_middle(teacher: Teacher) -> None:
    """What came is kept, and the conversation goes on."""
    teacher.reply = _sends(stream(HI), length=5000)
    with open_chat("m", base_url=teacher.url) as chat:
        answer = chat.ask("A?")
        assert next(answer) == "Hi"
        assert list(answer) == []  # it said that it was done
        teacher.reply = _sends(stream(HI, done=False), length=5000)
        answer = chat.ask("B?")
        assert next(answer) == "Hi"
        with pytest.raises(EvolgenError, match="the connection failed"):
            next(answer)
        teacher.reply = _sends(stream(HI))
        assert "".join(chat.ask("C?")) == "Hi"
        assert [turn["content"] for turn in chat.turns] == ["A?", "Hi", "B?", "Hi", "C?", "Hi"]


def _sends(body: bytes, status: int = 200, length: int | None = None) -> Any:
    """A reply of just these bytes; with a `length` it promises more than it sends."""

    async def reply(_: Body) -> web.StreamResponse:
        return Raw(body=body, status=status, headers={} if length is None else {"Content-Length": str(length)})

    return reply


class Raw(web.Response):
    """A response that ends the connection with its last byte."""

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._req
        await super().write_eof(data)
        if request is not None and request.transport is not None:
            request.transport.close()


def _chat(body: bytes, size: int) -> Chat:
    """A conversation with an endpoint that sends this, so many bytes at a time."""

    def sent() -> Iterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=sent()))
    client = openai.OpenAI(
        base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0, http_client=httpx2.Client(transport=transport)
    )
    return Chat(client, "m")


def _asked(chat: Chat) -> tuple[str, str]:
    said = []
    try:
        for text in chat.ask("A?"):
            said.append(text)
    except EvolgenError as error:
        return "".join(said), str(error)
    return "".join(said), ""


def _read(body: bytes) -> None:
    try:
        for piece in pieces([body[:7], body[7:]]):
            piece.text.encode()
    except ModelError:
        return


def test_a_redirect_is_refused_and_this_machine_is_not_told_about(teacher: Teacher) -> None:
    async def elsewhere(body: Body) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/elsewhere"})

    teacher.reply = elsewhere
    done = evolgen("chat", "m", "--base-url", teacher.url, stdin=b"hi")
    assert done.returncode == 2
    assert "the endpoint sends questions elsewhere (HTTP 302, to http://127.0.0.1:9/elsewhere)" in done.stderr
    sent = {name.lower() for headers in teacher.headers for name in headers}
    assert not sent & {f"x-stainless-{what}" for what in ("lang", "os", "arch", "runtime", "runtime-version", "async")}
