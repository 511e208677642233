"""`--estimate`: the pipeline itself, over some of its visits, with a stand-in for the teacher that asks nothing.

So the number of calls and the length of each prompt follow from the very templates and inputs of the run. What the
stand-in has to assume is how long answers are, how many fail, and how fast a teacher writes; with `--probe` the teacher
itself answers for some rows.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TypeVar

from evolgen.asking import Answer, Ask, Request, Role
from evolgen.backends import Teacher
from evolgen.commands.standin import LUCKY, UNLUCKY, Guess, StandIn
from evolgen.engine.ask import Asker, Halt
from evolgen.engine.order import in_order
from evolgen.engine.stopping import StopSwitch, stopped_by
from evolgen.engine.tokens import CHARACTERS, prompt_tokens
from evolgen.errors import UsageError
from evolgen.prices import Prices
from evolgen.records import Record
from evolgen.report.estimate import Course, Estimate
from evolgen.usage import Usage

T = TypeVar("T")

SAMPLE = 50
"""Visits that stand for all of them."""

RESAMPLES = 400
"""Bootstrap samples of what was probed."""

FROM_STORE = 0.002
"""Seconds within which an answer comes from the store, and says nothing about a teacher's speed."""

NONE = Usage(0, 0, 0)

ASSUMED = (
    "answers of 60 to 500 tokens, evolutions of 30 to 120, tasks of 50 to 170",
    "none to two thirds of the evolutions or tasks fail, and a task has one or two instances",
    "a teacher that writes 25 to 100 tokens a second for each call",
    "nothing of it in the store yet, and no prompt tokens cached",
)


@dataclass(frozen=True)
class Scope:
    """What is estimated: a run over `total` visits, or, with a `target`, one that goes on until it has so many rows.

    `most_kept` is how many of a visit's rows are kept at the most.
    """

    total: int | None
    target: int | None
    most_kept: int | None
    roles: Mapping[Role, Teacher]
    prices: Prices
    batch: bool

    @property
    def concurrency(self) -> int:
        return max(teacher.concurrency for teacher in self.roles.values())


@dataclass
class Taken:
    """What one visit took: calls and tokens by role, seconds of waiting for answers, and the rows that it gave."""

    calls: Counter[Role] = field(default_factory=Counter)
    usage: dict[Role, Usage] = field(default_factory=dict)
    seconds: float = 0.0
    accepted: int = 0

    async def follow(self, rows: AsyncIterator[Record]) -> Taken:
        """Run the visit to its end."""
        async for row in rows:
            self.accepted += row.rejection is None
        return self

    def metered(self, ask: Ask) -> Ask:
        """The same `ask`, and what it takes is counted here."""

        async def metered(request: Request) -> Answer:
            began = time.monotonic()
            answer = await ask(request)
            seconds = time.monotonic() - began
            self.seconds += seconds if seconds > FROM_STORE else 0.0
            self.calls[request.role] += 1
            usage = answer.usage or Usage(round(prompt_tokens(request)), 0, len(answer.text) // CHARACTERS)
            self.usage[request.role] = self.usage.get(request.role, NONE).plus(usage)
            return answer

        return metered


async def estimate(
    scope: Scope,
    pipeline: Callable[[], Callable[[T, Ask], AsyncIterator[Record]]],
    visits: Callable[[], Iterator[T]],
) -> Estimate:
    """What a run takes, by guesses; `pipeline` and `visits` make them anew for each course."""
    few, many = (LUCKY, UNLUCKY)
    if scope.target is None:  # what fails is not asked about any further, and is not made up for by other visits
        few, many = replace(few, failing=many.failing), replace(many, failing=few.failing)
    low, high = [await _guessed(scope, pipeline(), visits(), guess) for guess in (few, many)]
    return Estimate(low=low, high=high, concurrency=scope.concurrency, assumed=ASSUMED)


async def _guessed(
    scope: Scope, pipeline: Callable[[T, Ask], AsyncIterator[Record]], visits: Iterator[T], guess: Guess
) -> Course:
    teacher = StandIn(guess)
    taken: list[Taken] = []
    for visit in itertools.islice(visits, SAMPLE):
        taken.append(Taken())
        await taken[-1].follow(pipeline(visit, taken[-1].metered(teacher.ask)))
        if scope.target is not None and sum(each.accepted for each in taken) >= scope.target:
            break
    return _course(scope, taken, guess)


async def probe(
    scope: Scope,
    pipeline: Callable[[T, Ask], AsyncIterator[Record]],
    visits: Iterator[T],
    *,
    asker: Asker,
    rows: int,
    switch: StopSwitch,
) -> Estimate:
    """What a run takes, by what `rows` real rows take: 5th to 95th percentile over bootstrap samples of the visits.

    Raises what the run was stopped by meanwhile; what was paid is in the store.
    """
    made = 0

    async def follow(position: int, visit: T) -> Taken | None:
        taken = Taken()
        with contextlib.suppress(Halt):
            return await taken.follow(pipeline(visit, taken.metered(partial(asker.ask, position))))
        return None

    taken: list[Taken] = []
    with stopped_by(switch, asker):
        probed = in_order(
            visits,
            follow,
            width=min(rows, scope.concurrency),
            may_start=lambda running: asker.ending is None and made + running < rows,
        )
        async with contextlib.aclosing(probed):
            async for each in probed:
                if each is not None and made < rows:  # those that were begun beyond are let finish, and don't count
                    taken.append(each)
                    made += max(1, each.accepted)
    if asker.ending is not None:
        raise asker.ending.error()
    if not taken:
        raise UsageError("--probe: there is nothing to ask about")
    dice = random.Random(0)
    courses = [_course(scope, dice.choices(taken, k=len(taken))) for _ in range(RESAMPLES)]
    low, high = _between(courses, 0.05), _between(courses, 0.95)
    accepted = sum(each.accepted for each in taken)
    assumed = f"it goes on as in the {len(taken):,} lineages asked about now, which gave {accepted:,} rows"
    return Estimate(
        low=low, high=high, concurrency=scope.concurrency, assumed=(assumed, "nothing else of it is in the store")
    )


def _course(scope: Scope, taken: Sequence[Taken], guess: Guess | None = None) -> Course:
    """What the whole run takes if it goes on as it did so far, by the clock or at a guessed speed."""
    accepted = sum(min(each.accepted, scope.most_kept or each.accepted) for each in taken)
    scale = (scope.total or len(taken)) / len(taken) if scope.target is None else scope.target / max(1, accepted)
    calls: Counter[Role] = sum((each.calls for each in taken), Counter())
    usage = {
        role: reduce(Usage.plus, (each.usage[role] for each in taken if role in each.usage)) for role in sorted(calls)
    }
    prompt = scale * sum(each.prompt for each in usage.values())
    written = scale * sum(each.completion for each in usage.values())
    asked = scale * calls.total()
    waited = scale * sum(each.seconds for each in taken)
    if guess is not None:
        waited = asked * guess.wait + written / guess.tokens_a_second
    return Course(
        requests={role: round(calls[role] * scale) for role in usage},
        prompt_tokens=round(prompt),
        completion_tokens=round(written),
        cost_usd=_cost(scope, usage, scale),
        seconds=None
        if scope.batch
        else max(waited / scope.concurrency, _least_seconds(scope, asked, prompt + written)),
    )


def _cost(scope: Scope, usage: Mapping[Role, Usage], scale: float) -> float | None:
    prices = {role: scope.prices.of(scope.roles[role].name) for role in usage}
    costs = [price.of(*usage[role]) for role, price in prices.items() if price is not None]
    return scale * sum(costs) if len(costs) == len(usage) else None


def _least_seconds(scope: Scope, calls: float, tokens: float) -> float:
    """What the limits by the minute call for."""
    limits = next(iter(scope.roles.values())).limits
    return max(60 * calls / limits.rpm if limits.rpm else 0.0, 60 * tokens / limits.tpm if limits.tpm else 0.0)


def _between(courses: Sequence[Course], share: float) -> Course:
    """The quantile of each number by itself."""

    def quantile(numbers: Iterable[float]) -> float:
        ordered = sorted(numbers)
        return ordered[round(share * (len(ordered) - 1))]

    costs = [course.cost_usd for course in courses if course.cost_usd is not None]
    return Course(
        requests={
            role: round(quantile(course.requests.get(role, 0) for course in courses))
            for role in sorted({role for course in courses for role in course.requests})
        },
        prompt_tokens=round(quantile(course.prompt_tokens for course in courses)),
        completion_tokens=round(quantile(course.completion_tokens for course in courses)),
        cost_usd=quantile(costs) if len(costs) == len(courses) else None,
        seconds=quantile(course.seconds or 0.0 for course in courses),
    )
