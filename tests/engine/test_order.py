from __future__ import annotations

import asyncio
import random

import pytest

from evolgen.engine import order
from evolgen.engine.order import in_order
from evolgen.pauses import Backoff

pytestmark = pytest.mark.anyio


async def test_results_come_in_order_whatever_the_latency() -> None:
    rng = random.Random(0)

    async def work(position: int, lineage: str) -> str:
        await asyncio.sleep(rng.random() * 0.01)
        return f"{lineage}{position}"

    results = [r async for r in in_order(iter("abcdefgh"), work, width=3, may_start=lambda running: True)]
    assert results == ["a0", "b1", "c2", "d3", "e4", "f5", "g6", "h7"]


async def test_no_more_than_width_run_at_once() -> None:
    running = most = 0

    async def work(position: int, lineage: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return lineage

    assert [r async for r in in_order(iter(range(50)), work, width=7, may_start=lambda n: True)] == list(range(50))
    assert most == 7


async def test_a_stalled_head_is_parked_on_disk_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WINDOW", 5)
    others_done = asyncio.Event()
    finished: list[int] = []

    async def work(position: int, lineage: int) -> int:
        if position == 0:
            await others_done.wait()
        return lineage

    def hear(result: int) -> None:
        finished.append(result)
        if len(finished) == 199:
            others_done.set()

    lineages = in_order(iter(range(200)), work, width=4, may_start=lambda n: True, finished=hear)
    assert [r async for r in lineages] == list(range(200))
    assert finished[-1] == 0


async def test_a_no_to_starting_ends_it_once_nothing_runs() -> None:
    async def work(position: int, lineage: int) -> int:
        await asyncio.sleep(0)
        return lineage

    allowed = iter([True, True, False])
    lineages = in_order(iter(range(100)), work, width=9, may_start=lambda n: next(allowed, False))
    assert [r async for r in lineages] == [0, 1]


async def test_a_bug_in_a_lineage_comes_out_and_cancels_the_rest() -> None:
    cancelled = 0

    async def work(position: int, lineage: int) -> int:
        nonlocal cancelled
        if position == 2:
            raise ZeroDivisionError
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return lineage

    with pytest.raises(ZeroDivisionError):
        [r async for r in in_order(iter(range(5)), work, width=5, may_start=lambda n: True)]
    assert cancelled == 4


def test_pauses_double_up_to_a_limit_and_respect_the_endpoints_word() -> None:
    backoff = Backoff(first=1.0, most=10.0, jitter=random.Random(0))
    for attempt, usual in [(1, 1.0), (2, 2.0), (3, 4.0), (9, 10.0), (500, 10.0)]:
        assert 0.5 * usual <= backoff.pause(attempt, None) <= 1.5 * usual
    assert 20.0 <= backoff.pause(1, 20.0) <= 21.0
    assert backoff.pause(9, 0.0) >= 5.0
