"""The time that is left, told in runs that are simulated to their end: within a factor of 2 of the truth."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolgen.events import Planned
from evolgen.report.forecast import MARKS, Forecast, Pace, time_left
from evolgen.report.tally import Tally

REPLAY = 0.0002
"""Seconds that an answer from the store takes."""


@dataclass(frozen=True)
class Told:
    """What was told at a time, when a share of the answers was there."""

    at: float
    share: float
    seconds: float | None


@dataclass
class Simulation:
    """A run of lineages that ask one question after the other and give a row every `asks`; they commit in order."""

    lineages: int = 400
    rounds: int = 4
    asks: int = 3
    concurrency: int = 8
    latency: Callable[[float], float] = lambda now: 1.0
    known: Callable[[int, int], bool] = lambda lineage, ask: False
    accepted: float = 1.0
    target: int | None = None
    spread: float = 0.3
    now: float = 0.0
    tally: Tally = field(default_factory=Tally)

    def run(self) -> list[Told]:
        """Everything that is told until the end, which is the last of it."""
        self._rng = random.Random(7)
        self._forecast = Forecast(Planned(self.lineages * self.rounds, self.target))
        told = [(self.now, self.tally.answers + self.tally.replayed, seconds) for seconds in self._go()]
        last = told[-1][1]
        return [Told(at, answers / last, seconds) for at, answers, seconds in told]

    def _go(self) -> Iterator[float | None]:
        asked: dict[int, int] = {}
        fresh = iter(range(self.lineages) if self.target is None else itertools.count())
        waiting: list[int] = []
        calls: list[tuple[float, int]] = []
        ended: set[int] = set()
        head = 0
        while not self._full:
            while len(asked) < 2 * self.concurrency and (opened := next(fresh, None)) is not None:
                asked[opened] = 0
                yield from self._move(opened, asked, waiting, ended)
            while head in ended:
                self._commit()
                head += 1
            while waiting and len(calls) < self.concurrency:
                spread = self._rng.uniform(1 - self.spread, 1 + self.spread)
                heapq.heappush(calls, (self.now + self.latency(self.now) * spread, heapq.heappop(waiting)))
            if not calls:
                break
            self.now, lineage = heapq.heappop(calls)
            self.tally.answers += 1
            asked[lineage] += 1
            yield self._tell()
            yield from self._move(lineage, asked, waiting, ended)
        yield 0.0

    @property
    def _full(self) -> bool:
        return self.target is not None and self.tally.accepted >= self.target

    def _move(self, lineage: int, asked: dict[int, int], waiting: list[int], ended: set[int]) -> Iterator[float | None]:
        while asked[lineage] < self.rounds * self.asks:
            if not self.known(lineage, asked[lineage]):
                heapq.heappush(waiting, lineage)
                return
            self.now += REPLAY
            self.tally.replayed += 1
            asked[lineage] += 1
            yield self._tell()
        del asked[lineage]
        ended.add(lineage)

    def _commit(self) -> None:
        for _ in range(self.rounds):
            if not self._full:
                self.tally.candidates += 1
                self.tally.accepted += self._rng.random() < self.accepted
                self.tally.used += self.asks

    def _tell(self) -> float | None:
        self._forecast.heard(self.tally, self.now)
        return self._forecast.seconds_left(self.tally, self.now)


def assert_near_the_truth(told: list[Told], *, since: float = 0.1, tail: float) -> None:
    """Within a factor of 2, once a part of the work is done; the last of it doesn't count."""
    end = told[-1].at
    for each in told:
        if each.seconds is None or each.share < since or end - each.at <= max(tail, 0.12 * end):
            continue
        assert (end - each.at) / 2 <= each.seconds <= 2 * (end - each.at), (each, end)


def prefix(share: float, of: int = 400) -> Callable[[int, int], bool]:
    return lambda lineage, ask: lineage < share * of


RUNS: dict[str, Callable[[], Simulation]] = {
    "constant speed": Simulation,
    "quick answers, many in flight": lambda: Simulation(lineages=2000, concurrency=64, latency=lambda now: 0.5),
    "slow answers, one at a time": lambda: Simulation(lineages=30, concurrency=1, latency=lambda now: 20.0),
    "answers of very different lengths": lambda: Simulation(spread=0.95),
    "answers in waves": lambda: Simulation(concurrency=64, latency=lambda now: 10.0, spread=0.0, lineages=1000),
    "one question a row": lambda: Simulation(rounds=1, asks=1, lineages=500),
    "many rounds, rows late": lambda: Simulation(rounds=10, lineages=100, concurrency=16),
    "rows wanted, half of them accepted": lambda: Simulation(target=800, accepted=0.5),
    "rows wanted, one in ten accepted": lambda: Simulation(target=300, accepted=0.1),
    "a cold endpoint": lambda: Simulation(latency=lambda now: 60.0 if now < 30 else 1.0),
    "an endpoint that is slow at first": lambda: Simulation(latency=lambda now: 6.0 if now < 40 else 1.0),
    "a rerun, half of it from the store": lambda: Simulation(known=prefix(0.5)),
    "a rerun, nearly all of it from the store": lambda: Simulation(known=prefix(0.95, 4000), lineages=4000),
    "a rerun of which some answers failed early": lambda: Simulation(
        known=lambda lineage, ask: lineage < 3000 and (lineage, ask) not in ((0, 5), (90, 2)), lineages=4000
    ),
    "a rerun of which one answer in a hundred failed": lambda: Simulation(
        known=lambda lineage, ask: lineage < 500 and bool((12 * lineage + ask) % 97), lineages=1000
    ),
    "a rerun for rows": lambda: Simulation(known=prefix(0.5), target=800, accepted=0.5),
    "a rerun with another judge": lambda: Simulation(known=lambda lineage, ask: ask % 3 != 1),
    "a rerun with another judge, many in flight": lambda: Simulation(
        known=lambda lineage, ask: ask % 3 != 1, lineages=4000, concurrency=64
    ),
    "a rerun with more seeds among the old ones": lambda: Simulation(
        known=lambda lineage, ask: lineage % 5 != 0, lineages=1500
    ),
    "new seeds before and after old ones": lambda: Simulation(known=lambda lineage, ask: 150 < lineage < 250),
}

SINCE = {
    "a rerun with more seeds among the old ones": 0.3,
    "a rerun of which one answer in a hundred failed": 0.51,
    "new seeds before and after old ones": 0.65,
}
"""Where nobody can know at a tenth what is to come."""


@pytest.mark.parametrize("name", RUNS)
def test_the_time_left_is_near_the_truth_once_a_tenth_is_done(name: str) -> None:
    simulation = RUNS[name]()
    tail = 3 * simulation.rounds * simulation.asks * simulation.latency(1e9)
    told = simulation.run()
    assert_near_the_truth(told, since=SINCE.get(name, 0.1), tail=tail)
    paid = [each for each in told if each.at > 0.3 * told[-1].at]
    assert sum(each.seconds is not None for each in paid) > 0.9 * len(paid), "and it is told"


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    concurrency=st.integers(1, 32),
    latency=st.floats(0.3, 30.0),
    rounds=st.integers(1, 8),
    asks=st.integers(1, 3),
    waves=st.integers(20, 30),
    stored=st.floats(0.0, 0.9),
    accepted=st.sampled_from([None, 0.3, 0.7, 1.0]),
)
def test_whatever_the_sizes(
    *, concurrency: int, latency: float, rounds: int, asks: int, waves: int, stored: float, accepted: float | None
) -> None:
    lineages = round(max(waves * concurrency, 300 / (accepted or 1.0) / rounds) / (1 - stored))
    simulation = Simulation(
        lineages=lineages,
        rounds=rounds,
        asks=asks,
        concurrency=concurrency,
        latency=lambda now: latency,
        known=prefix(stored, lineages),
        accepted=accepted or 1.0,
        target=None if accepted is None else round(accepted * lineages * rounds),
    )
    assert_near_the_truth(simulation.run(), since=0.15 + 0.85 * stored, tail=3 * rounds * asks * latency)


def test_nothing_is_told_before_the_first_row_nor_while_all_comes_from_the_store() -> None:
    forecast, tally = Forecast(Planned(80, None)), Tally()
    assert forecast.rows(tally) == "0 accepted, 0 rejected"
    for second in range(60):
        tally.replayed += 1000
        forecast.heard(tally, float(second))
    tally.candidates = tally.accepted = 4
    tally.used = 12
    assert forecast.seconds_left(tally, 60.0) is None
    tally = Tally(answers=56)
    assert forecast.rows(tally) == "56 answers; the first row comes when its lineage ends"
    assert forecast.seconds_left(tally, 61.0) is None
    tally.candidates = tally.by_stage["input"] = 3  # rows of the input that hold nothing are there at once
    assert forecast.rows(tally).startswith("56 answers")
    assert forecast.done(tally) == 0


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_steps_whose_rows_take_longer_and_longer(power: float) -> None:
    pace = Pace()
    for done in range(100, 10_000, 100):
        now = 100 * (done / 10_000) ** power
        pace.heard(now, done)
        seconds = pace.seconds_to(10_000, now)
        if done >= 2000:
            assert seconds == pytest.approx(100 - now, rel=0.5)


def test_a_long_wait_makes_the_time_longer_and_marks_stay_few() -> None:
    pace = Pace()
    for second in range(100_000):
        pace.heard(float(second), second)
    before, after = pace.seconds_for(1000, 100_000.0), pace.seconds_for(1000, 150_000.0)
    assert before == pytest.approx(1000, rel=0.05)
    assert after is not None
    assert after > 2000
    assert len(pace._marks) <= MARKS


@pytest.mark.parametrize(("seconds", "words"), [(0.0, "1 s left"), (119.5, "2 min left"), (90_000.0, "25.0 h left")])
def test_words(seconds: float, words: str) -> None:
    assert time_left(seconds) == words
