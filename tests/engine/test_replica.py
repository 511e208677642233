"""What an endpoint may be asked, by its limits and by what it answered; time is an argument."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evolgen.backends import Limits
from evolgen.backends.scripted import ScriptedBackend
from evolgen.engine.replica import CALM, Rate, Replica

BACKEND = ScriptedBackend(lambda request: "")


def replica(concurrency: int = 32, **limits: Any) -> Replica:
    return Replica(BACKEND, Limits(concurrency, **limits), probe_pauses=(1.0, 8.0))


def test_its_width_is_halved_once_for_all_calls_that_were_in_flight_together() -> None:
    busy = replica()
    for _ in range(20):
        busy.pushed_back(10.0, 2.0, sent=10.0)
    assert busy.width == 16
    busy.pushed_back(11.9, 2.0, sent=11.9)
    assert busy.width == 16, "once a Retry-After"
    busy.answered(11.95, 0.0)
    busy.pushed_back(12.0, 2.0, sent=12.0)
    assert busy.width == 8
    busy.pushed_back(12.1 + CALM, None, sent=12.1 + CALM)
    assert busy.width == 4


def test_calls_that_went_out_before_the_last_halving_say_nothing_new() -> None:
    """Timeouts come long after their calls went out, and not all at the same time."""
    busy = replica()
    for late in range(0, 60, 5):
        busy.pushed_back(120.0 + late, None, sent=float(late))
    assert busy.width == 16
    busy.pushed_back(200.0, None, sent=150.0)
    assert busy.width == 8


def test_its_width_goes_up_by_one_for_each_width_of_answers_and_never_beyond_its_limit() -> None:
    busy = replica(8)
    busy.pushed_back(0.0, None, sent=0.0)
    busy.pushed_back(10.0, None, sent=10.0)
    assert busy.width == 2
    for _ in range(3):
        busy.answered(11.0, 0.0)
    assert busy.width == 3
    for _ in range(1000):
        busy.answered(12.0, 0.0)
    assert busy.width == 8


def test_its_width_never_falls_below_one() -> None:
    busy = replica(3)
    for time in range(0, 100, 10):
        busy.pushed_back(float(time), 1.0, sent=float(time))
    assert busy.width == 1


def test_it_pauses_only_when_a_whole_retry_after_went_by_without_an_answer() -> None:
    busy = replica()
    busy.pushed_back(0.0, 2.0, sent=0.0)
    assert busy.ready_at() < 0.0, "the first word is for the request that got it"
    busy.answered(1.0, 0.0)
    busy.pushed_back(2.5, 2.0, sent=2.5)
    assert busy.ready_at() < 2.5, "there was an answer in that time"
    busy.pushed_back(5.0, 2.0, sent=5.0)
    assert busy.ready_at() == 7.0


def test_it_is_full_when_its_width_is_taken() -> None:
    busy = replica(2)
    busy.take(10, 0.0)
    assert busy.load == 0.5
    busy.take(10, 0.0)
    assert busy.ready_at() == math.inf
    busy.let_go()
    assert busy.ready_at() <= 0.0


def test_after_some_failed_connections_one_call_at_a_time_tries_it_with_growing_pauses() -> None:
    gone = replica()
    for _ in range(3):
        assert not gone.down
        gone.take(1, 0.0)
        gone.unreachable(0.0)
        gone.let_go()
    assert gone.down
    pauses = []
    now = 0.0
    for _ in range(5):
        pauses.append(gone.ready_at() - now)
        now = gone.ready_at()
        gone.take(1, now)
        assert gone.ready_at() == math.inf, "one at a time"
        gone.unreachable(now)
        gone.let_go()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    gone.alive(now)
    assert gone.ready_at() < now


@pytest.mark.parametrize(("per_minute", "amount", "calls"), [(600, 1, 10), (60, 1, 1), (6000, 100, 1), (6, 1, 1)])
def test_a_rate_lets_a_seconds_worth_through_at_once_and_the_limit_in_a_minute(
    per_minute: float, amount: float, calls: int
) -> None:
    rate = Rate(per_minute)
    now, times = 0.0, []
    while now < 120.0:
        times.append(now)
        rate.take(amount, now)
        now = max(now, rate.ready_at())
    at_once = sum(time == 0.0 for time in times)
    assert calls <= at_once <= calls + 1
    second_minute = sum(amount for time in times if 60.0 <= time < 120.0)
    assert second_minute <= per_minute + amount
    assert second_minute >= 0.95 * per_minute


def test_no_limit_is_no_limit_and_estimates_are_corrected() -> None:
    free = Rate(None)
    for _ in range(1000):
        free.take(1e9, 5.0)
    assert free.ready_at() < 0.0
    rate = Rate(6000)
    rate.take(500, 0.0)
    assert rate.ready_at() == 4.0
    rate.correct(-300)
    assert rate.ready_at() == 1.0
    rate.correct(200)
    assert rate.ready_at() == 3.0
