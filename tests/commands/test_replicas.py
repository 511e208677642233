"""Replicas, rates and Retry-After over real HTTP."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import evolgen
from evolgen.pauses import Backoff
from tests.conftest import rows
from tests.running import run
from tests.teacher import Body, Drop, Teacher, completion, refusal, sensible

PROMPTS: Any = [{"instruction": f"Describe thing number {number}."} for number in range(200)]


def test_a_replica_that_dies_costs_nothing_and_leaves_no_trace(teacher: Teacher) -> None:
    async def slowly(body: Body) -> web.StreamResponse:
        await asyncio.sleep(0.005)
        return completion(sensible(body))

    teacher.reply = slowly
    with Teacher(slowly) as other:

        async def dying(body: Body) -> web.StreamResponse:
            if len(other.calls) > 20:
                raise Drop
            return await slowly(body)

        other.reply = dying
        urls = [teacher.url, other.url]
        summary = evolgen.respond(inputs=PROMPTS, out="two.jsonl", model="m", base_url=urls, concurrency=4)
        assert summary.accepted == 200
        assert len(other.calls) >= 20
    only = evolgen.respond(inputs=PROMPTS, out="one.jsonl", model="m", base_url=teacher.url)
    assert only.requests == 0, "answers don't depend on who gave them"
    assert Path("two.jsonl").read_bytes() == Path("one.jsonl").read_bytes()


def test_requests_a_minute_hold_for_each_endpoint(teacher: Teacher) -> None:
    began = time.monotonic()
    evolgen.respond(inputs=PROMPTS[:50], out="out.jsonl", model="m", base_url=teacher.url, rpm=1200)
    assert time.monotonic() - began >= (50 - 20 - 1) / 20


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "1"},
        {"retry-after-ms": "1000"},
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"},
        {"Retry-After": "Wed, 21 Oct 2015 07:28:01 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
def test_each_way_of_saying_when_to_return_is_kept_to(teacher: Teacher, headers: dict[str, str]) -> None:
    times: list[float] = []

    async def limited(body: Body) -> web.StreamResponse:
        times.append(time.monotonic())
        return refusal(429, "slow down", headers) if len(times) == 1 else completion(sensible(body))

    teacher.reply = limited
    summary = asyncio.run(
        run("respond", inputs=PROMPTS[:1], out="o.jsonl", model="m", base_url=teacher.url, backoff=Backoff(first=0.01))
    )
    assert summary.accepted == 1
    assert 1.0 <= times[1] - times[0] < 10.0


def test_a_retry_after_beyond_give_up_is_exit_3_and_loses_nothing(teacher: Teacher) -> None:
    async def limited(body: Body) -> web.StreamResponse:
        if len(teacher.calls) > 10:
            return refusal(429, "come back tomorrow", {"Retry-After": "86400"})
        return completion(sensible(body))

    teacher.reply = limited
    settings: Any = {"inputs": PROMPTS[:40], "out": "out.jsonl", "model": "m", "base_url": teacher.url}
    summary = evolgen.respond(**settings, give_up="2h", concurrency=2)
    assert not summary.complete
    assert summary.stopped is not None
    assert "asked again in 24.0 h" in summary.stopped
    assert "--give-up 2.0 h" in summary.stopped

    async def fine(body: Body) -> web.StreamResponse:
        return completion(sensible(body))

    teacher.reply = fine
    again = evolgen.respond(**settings)
    assert (again.accepted, again.replayed) == (40, 10)
    assert len(rows(Path("out.jsonl"))) == 40
