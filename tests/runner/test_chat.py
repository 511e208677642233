"""A conversation: what is sent, what is kept, and what a person can say besides."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from evolgen.cli.chat import _command, _turn
from evolgen.commands.chatting import open_chat
from evolgen.errors import EvolgenError, UsageError
from evolgen.runner.chat import Chat
from tests.conftest import rows
from tests.program import evolgen
from tests.teacher import Body, Teacher, refusal

PROMPT = b"\x1b[?2004h"
"""What a terminal is told when a line is to be typed: that what is pasted should be marked."""


async def streams(body: Body) -> web.StreamResponse:
    """The last message, word by word, or what it asks for."""
    text = str(body["messages"][-1]["content"])
    if "refuse" in text:
        return refusal(400, "I refuse, sk-canary")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.force_close()
    words = [] if "nothing" in text else [f"{word} " for word in text.split()] * (200 if "long" in text else 1)
    return Streaming(response, words)  # type: ignore[return-value]


class Streaming:
    """A response that is written when the server prepares it."""

    def __init__(self, response: web.StreamResponse, words: list[str]) -> None:
        self.response = response
        self.words = words

    def __getattr__(self, name: str) -> object:
        return getattr(self.response, name)

    async def prepare(self, request: web.BaseRequest) -> object:
        writer = await self.response.prepare(request)
        for word in self.words:
            chunk = {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
            await self.response.write(f"data: {json.dumps(chunk)}\n\n".encode())
            await asyncio.sleep(0.01)
        await self.response.write(b"data: [DONE]\n\n")
        return writer


@pytest.fixture
def chat(teacher: Teacher) -> Iterator[Chat]:
    teacher.reply = streams
    with open_chat("m", base_url=teacher.url) as chat:
        yield chat


def test_a_conversation_goes_along_whole(chat: Chat, teacher: Teacher) -> None:
    assert "".join(chat.ask("Name a river.")) == "Name a river. "
    assert chat.speed is not None
    chat.system = "Be brief."
    chat.set("temperature=0.1")
    chat.set("seed=7")
    assert "".join(chat.ask("Another one?")) == "Another one? "
    sent = teacher.calls[-1]
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (0.1, 7, 1024)
    assert "".join(chat.ask_again()) == "Another one? "
    assert teacher.calls[-1]["messages"] == sent["messages"]
    chat.save(Path("talk.jsonl"))
    chat.reset()
    assert chat.messages == [{"role": "system", "content": "Be brief."}]
    with pytest.raises(UsageError, match="nothing to save"):
        chat.save(Path("talk.jsonl"))
    with pytest.raises(UsageError, match="nothing to answer"):
        next(chat.ask_again())
    assert [turn["role"] for turn in rows(Path("talk.jsonl"))[0]["messages"]][-1] == "assistant"


def test_what_was_stopped_is_kept_and_what_failed_is_forgotten(chat: Chat) -> None:
    answer = chat.ask("a long tale")
    assert next(answer) == "a "
    answer.close()  # type: ignore[attr-defined]
    assert chat.turns == [{"role": "user", "content": "a long tale"}, {"role": "assistant", "content": "a "}]
    for text, problem in {"refuse this": "the endpoint refused the question", "say nothing": "empty answer"}.items():
        with pytest.raises(EvolgenError, match=problem):
            list(chat.ask(text))
        assert len(chat.turns) == 2


def test_a_key_that_is_told_back_is_hidden(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    teacher.reply = streams
    with (
        open_chat("m", base_url=teacher.url) as chat,
        pytest.raises(EvolgenError, match=r"I refuse, \*\*\*"),
    ):
        list(chat.ask("refuse this"))


def test_commands(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("Hello there.", "/regen", "/params temperature=2 top_p=", "/params tmperature=1", "/params seed=x",
                 "/params top_p=3", "/system You are kind.", "/save", "/save talk.jsonl", "/nope", "/help",
                 "/reset"):  # fmt: skip
        _turn(chat, text)
    told = capsys.readouterr()
    assert told.out == "Hello there. \nHello there. \n"
    for text in ("did you mean temperature?", "temperature=2.0 max_tokens=1024", "seed=x: it takes a whole number",
                 "top_p=3: it lies between 0 and 1", "system message set", "/save FILE: name a file",
                 "saved to talk.jsonl", "/nope: there is no such command", "Ctrl-C stops an answer",
                 "forgotten"):  # fmt: skip
        assert text in told.err
    assert chat.turns == []
    _command(chat, "/system", "")
    assert chat.system is None


def test_from_a_pipe_there_is_the_answer_and_nothing_else(teacher: Teacher) -> None:
    teacher.reply = streams
    command = [sys.executable, "-m", "evolgen", "chat", "m", "--base-url", teacher.url]
    done = subprocess.run(command, input="Name a river.", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Name a river. \n", "")
    for input, wrong, problem in [
        (b"", ["m", "--base-url", teacher.url], "standard input is empty"),
        (b"hi", ["--base-url", teacher.url], "--base-url: name the endpoint's model too"),
        (b"hi", ["nope.gguf"], "nope.gguf: there is no such file"),
        (b"hi", ["m", "--base-url", "http://127.0.0.1:9/v1"], "the connection failed"),
    ]:
        ended = evolgen("chat", *wrong, stdin=input)
        assert ended.returncode == 2
        assert problem in ended.stderr
        assert ended.stdout == ""


def test_a_session_in_a_terminal(teacher: Teacher) -> None:
    """Two lines in one message, Ctrl-C in an answer, an arrow key, and Ctrl-D at the end."""
    teacher.reply = streams
    child, ours = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "evolgen", "chat", "m", "--base-url", teacher.url])
    seen = b""

    def until(text: bytes, typed: bytes = b"") -> None:
        nonlocal seen
        os.write(ours, typed)
        ends = time.monotonic() + 20
        while text not in seen:
            assert time.monotonic() < ends, seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 4096)
        seen = seen[seen.index(text) + len(text) :]

    until(b"/help says")
    until(PROMPT)
    until(b"tokens/s", b"first\x1b\rsecond\r")
    until(PROMPT)
    until(b"long tale a long", b"a long tale\r")
    until(b"stopped", b"\x03")
    until(PROMPT)
    until(b"tokens/s", b"\x1b[A\x1b[A\r")
    until(PROMPT)
    os.write(ours, b"\x04")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    asked = [body["messages"][-1]["content"] for body in teacher.calls]
    assert asked == ["first\nsecond", "a long tale", "first\nsecond"]
