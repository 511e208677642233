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


async def _wrong_usage(body: Body) -> web.StreamResponse:
    text = sensible(body)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage: dict[str, Any] = {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": 10**12}
    return web.json_response({"choices": [choice], "usage": usage})


FAULTS: dict[str, Fault] = {
    "429": _response(lambda: refusal(429, "too many")),
    "429 with Retry-After": _response(lambda: refusal(429, "too many", {"Retry-After": "0.2"})),
    "429 until a date": _response(lambda: refusal(429, "too many", {
        "Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"})),
    "500": _response(lambda: refusal(500, "oops")),
    "503": _response(lambda: refusal(503, "overloaded", {"Retry-After": "0"})),
    "dropped": _dropped,
    "half-open": _half_open,
    "slow": _slow,
    "truncated": _response(lambda: web.Response(text='{"choices": [{"mess', content_type="application/json")),
    "cut off": _cut_off,
    "no JSON": _response(lambda: web.Response(text="oops, not JSON", content_type="application/json")),
    "HTML": _response(lambda: web.Response(text="<html>Bad gateway</html>", content_type="text/html")),
    "text": _response(lambda: web.Response(text='{"choices": []}', content_type="text/plain")),
    "no choices": _response(lambda: web.json_response({"choices": []})),
    "an error": _response(lambda: web.json_response({"error": {"message": "overloaded"}})),
    "wrong usage": _wrong_usage,
}  # fmt: skip
"""By name; `slow` and `wrong usage` are answers all the same."""

ANSWERS = ("slow", "wrong usage")


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
            self.paid[question] += not name or name in ANSWERS
        return await FAULTS[name](body) if name else completion(sensible(body))
