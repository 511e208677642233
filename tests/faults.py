"""A teacher that goes wrong in all the ways that endpoints do, at a given rate."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.teacher import Body, Cut, Drop, completion, digest, refusal, sensible

Fault = Callable[[Body], Awaitable[web.StreamResponse]]


def _response(make: Callable[[], web.StreamResponse]) -> Fault:
    async def fault(body: Body) -> web.StreamResponse:
        return make()

    return fault


async def _dropped(body: Body) -> web.StreamResponse:
    raise Drop


async def _cut_off(body: Body) -> web.StreamResponse:
    raise Cut


async def _half_open(body: Body) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise Drop


async def _slow(body: Body) -> web.StreamResponse:
    await asyncio.sleep(0.3)
    return completion(sensible(body))


def answering(change: Callable[[dict[str, Any], dict[str, Any], str], object] = lambda *_: None) -> Fault:
    """A good answer, once `change(response, choice, text)` has made it odd."""

    async def reply(body: Body) -> web.StreamResponse:
        text = sensible(body)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        response = {"choices": [choice], "usage": usage}
        change(response, choice, text)
        return web.json_response(response)

    return reply


async def _called_text(body: Body) -> web.StreamResponse:
    whole: Any = await answering()(body)
    return web.Response(body=whole.body, content_type="text/plain")


WRONG_USAGE = {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": 10**12}
FLOATS = {"prompt_tokens": 100.0, "completion_tokens": "20", "total_tokens": None}


def _parts(text: str) -> list[Any]:
    middle = len(text) // 2
    return [{"type": "text", "text": text[:middle]}, None, 7, [], {"type": "text", "text": None}, text[middle:]]


ODD_ANSWERS: dict[str, Fault] = {
    "slow": _slow,
    "wrong usage": answering(lambda response, choice, text: response.update(usage=WRONG_USAGE)),
    "odd usage": answering(lambda response, choice, text: response.update(usage=FLOATS)),
    "no usage": answering(lambda response, choice, text: response.pop("usage")),
    "usage list": answering(lambda response, choice, text: response.update(usage=[1, 2])),
    "parts": answering(lambda response, choice, text: choice["message"].update(content=_parts(text))),
    "eos": answering(lambda response, choice, text: choice.update(finish_reason="eos")),
    "no finish_reason": answering(lambda response, choice, text: choice.pop("finish_reason")),
    "null finish_reason": answering(lambda response, choice, text: choice.update(finish_reason=None)),
    "closing token": answering(lambda response, choice, text: choice["message"].update(content=f"{text}<|im_end|>")),
    "thinking": answering(lambda response, choice, text: choice["message"].update(content=f"<think>hm</think>{text}")),
    "channels": answering(lambda response, choice, text: choice["message"].update(
        content=f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{text}")),
    "called text": _called_text,
    "empty error": answering(lambda response, choice, text: response.update(error={})),
}  # fmt: skip
"""Answers all the same, by name."""


FAULTS: dict[str, Fault] = {
    "429": _response(lambda: refusal(429, "too many")),
    "429 with Retry-After": _response(lambda: refusal(429, "too many", {"Retry-After": "0.2"})),
    "429 until a date": _response(lambda: refusal(429, "too many", {
        "Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"})),
    "500": _response(lambda: refusal(500, "oops")),
    "503": _response(lambda: refusal(503, "overloaded", {"Retry-After": "0"})),
    "dropped": _dropped,
    "half-open": _half_open,
    "truncated": _response(lambda: web.Response(text='{"choices": [{"mess', content_type="application/json")),
    "cut off": _cut_off,
    "no JSON": _response(lambda: web.Response(text="oops, not JSON", content_type="application/json")),
    "HTML": _response(lambda: web.Response(text="<html>Bad gateway</html>", content_type="text/html")),
    "text": _response(lambda: web.Response(text='{"choices": []}', content_type="text/plain")),
    "no choices": _response(lambda: web.json_response({"choices": []})),
    "an error": _response(lambda: web.json_response({"error": {"message": "overloaded"}})),
    "an error as text": _response(lambda: web.json_response({"error": "overloaded"})),
    "an error beside an answer": answering(lambda response, choice, text: response.update(error={"code": 502})),
    "an error in a choice": answering(lambda response, choice, text: choice.update(error={"message": "lost"})),
    "aborted": answering(lambda response, choice, text: choice.update(finish_reason="abort")),
    "a network error": answering(lambda response, choice, text: choice.update(finish_reason="network_error")),
    "a list": _response(lambda: web.json_response([{"choices": []}])),
    "null": _response(lambda: web.json_response(None)),
    "no content": answering(lambda response, choice, text: choice["message"].update(content=7)),
    "deep": _response(lambda: web.Response(text="[" * 200_000, content_type="application/json")),
} | ODD_ANSWERS  # fmt: skip
"""What goes wrong for now, by name, and odd answers."""


class Faulty:
    """A reply with faults on a share of its calls, drawn from the question and how often it was put.

    `paid` counts the answers given to each question; several teachers may share one.
    """

    def __init__(self, share: float) -> None:
        self.paid: Counter[str] = Counter()
        self.put: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self._share = share
        self._lock = threading.Lock()

    async def __call__(self, body: Body) -> web.StreamResponse:
        question = digest(body)
        with self._lock:
            self.put[question] += 1
            drawn = hashlib.sha256(f"{question} {self.put[question]}".encode()).digest()
        name = list(FAULTS)[drawn[4] % len(FAULTS)] if int.from_bytes(drawn[:4]) < self._share * 2**32 else ""
        with self._lock:
            self.met[name] += 1
            self.paid[question] += not name or name in ODD_ANSWERS
        return await FAULTS[name](body) if name else completion(sensible(body))
