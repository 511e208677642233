"""`--estimate`: the pipeline itself, over some of its visits, with a stand-in for the teacher that asks nothing.

So the number of calls and the length of each prompt follow from the very templates and inputs of the run. What the
stand-in has to assume is how long answers are, how many fail, and how fast a teacher writes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from evolgen.asking import Answer, Ask, Request, Role
from evolgen.backends import Teacher
from evolgen.engine.tokens import prompt_tokens
from evolgen.pipelines import alpaca, self_instruct
from evolgen.prices import Prices
from evolgen.records import Record
from evolgen.report.estimate import Course, Estimate
from evolgen.usage import Usage

T = TypeVar("T")

SAMPLE = 50
"""Visits that stand for all of them."""

TASKS = self_instruct.LIST - self_instruct.DEMONSTRATIONS
WHOLE_TASKS = alpaca.LIST - alpaca.SEEDS


@dataclass(frozen=True)
class Guess:
    """How a teacher behaves: tokens of an answer by role, the share of evolutions and tasks that fail, the instances
    that it gives a task, its speed.
    """

    tokens: Mapping[Role, int]
    failing: float
    instances: int
    wait: float
    tokens_a_second: float


LUCKY = Guess({"evolve": 30, "invent": 350, "judge": 2, "answer": 60}, 0.0, 2, 0.3, 100.0)
UNLUCKY = Guess({"evolve": 120, "invent": 1200, "judge": 8, "answer": 500}, 2 / 3, 1, 1.5, 25.0)

ASSUMED = (
    "answers of 60 to 500 tokens, evolutions of 30 to 120, tasks of 50 to 170",
    "none to two thirds of the evolutions or tasks fail, and a task has one or two instances",
    "a teacher that writes 25 to 100 tokens a second for each call",
    "nothing of it in the store yet, and no prompt tokens cached",
)


@dataclass(frozen=True)
class Plan:
    """What is estimated: a run over `total` visits, or, with a `target`, one that goes on until it has so many rows."""

    total: int | None
    target: int | None
    roles: Mapping[Role, Teacher]
    prices: Prices

    @property
    def concurrency(self) -> int:
        return max(teacher.concurrency for teacher in self.roles.values())


async def estimate(
    plan: Plan,
    pipeline: Callable[[], Callable[[T, Ask], AsyncIterator[Record]]],
    visits: Callable[[], Iterator[T]],
) -> Estimate:
    """What a run takes; `pipeline` and `visits` make them anew for each course."""
    few, many = (LUCKY, UNLUCKY)
    if plan.target is None:  # what fails is not asked about any further, and is not made up for by other visits
        few, many = replace(few, failing=many.failing), replace(many, failing=few.failing)
    low, high = [await _course(plan, pipeline(), visits(), guess) for guess in (few, many)]
    return Estimate(low=low, high=high, concurrency=plan.concurrency, assumed=ASSUMED)


async def _course(
    plan: Plan, pipeline: Callable[[T, Ask], AsyncIterator[Record]], visits: Iterator[T], guess: Guess
) -> Course:
    teacher = StandIn(guess)
    seen = accepted = 0
    for visit in itertools.islice(visits, SAMPLE):
        rows = [row async for row in pipeline(visit, teacher.ask)]
        accepted += sum(row.rejection is None for row in rows)
        seen += 1
        if plan.target is not None and accepted >= plan.target:
            break
    scale = (plan.total or seen) / seen if plan.target is None else plan.target / max(1, accepted)
    calls = {role: count * scale for role, count in sorted(teacher.calls.items())}
    prompt = sum(usage.prompt for usage in teacher.usage.values()) * scale
    written = sum(usage.completion for usage in teacher.usage.values()) * scale
    return Course(
        requests={role: round(count) for role, count in calls.items()},
        prompt_tokens=round(prompt),
        completion_tokens=round(written),
        cost_usd=_cost(plan, teacher, scale),
        seconds=_seconds(plan, guess, sum(calls.values()), prompt, written),
    )


def _cost(plan: Plan, teacher: StandIn, scale: float) -> float | None:
    cost = 0.0
    for role, usage in teacher.usage.items():
        price = plan.prices.of(plan.roles[role].name)
        if price is None:
            return None
        cost += price.of(*usage) * scale
    return cost


def _seconds(plan: Plan, guess: Guess, calls: float, prompt: float, written: float) -> float:
    """As long as the calls take side by side, and no less than the limits by the minute call for."""
    limits = next(iter(plan.roles.values())).limits
    return max(
        (calls * guess.wait + written / guess.tokens_a_second) / plan.concurrency,
        60 * calls / limits.rpm if limits.rpm else 0.0,
        60 * (prompt + written) / limits.tpm if limits.tpm else 0.0,
    )


class StandIn:
    """Answers in a teacher's place with made-up words, and counts what a teacher would have been paid for."""

    def __init__(self, guess: Guess) -> None:
        self.calls: Counter[Role] = Counter()
        self.usage: dict[Role, Usage] = {}
        self._guess = guess

    async def ask(self, request: Request) -> Answer:
        self.calls[request.role] += 1
        before = self.usage.get(request.role, Usage(0, 0, 0))
        longer = 3 if request.role == "invent" and _whole(request) else 1
        written = min(longer * self._guess.tokens[request.role], request.max_tokens or 10**9)
        asked = round(prompt_tokens(request))
        self.usage[request.role] = Usage(before.prompt + asked, 0, before.completion + written)
        return Answer("0" * 16, "", self._text(request), "stop", None)

    def _text(self, request: Request) -> str:
        question = repr((request.messages, request.prompt, request.sample, request.repeat))
        mark = hashlib.sha256(question.encode("utf-8", "replace")).hexdigest()
        fails = int(mark[:8], 16) < self._guess.failing * 2**32
        match request.role:
            case "judge":
                return "Equal" if fails else "Not Equal"
            case "evolve":
                return f"{request.messages[-1][1].partition(chr(10))[2]} {_words(mark, 12)}."
            case "invent":
                return self._list(request, mark)
        return _instances(request, mark, self._guess.instances)

    def _list(self, request: Request, mark: str) -> str:
        """As many tasks as are asked for, of which some say the same; whole ones for Alpaca."""
        whole = _whole(request)
        most = WHOLE_TASKS if whole else TASKS
        same = int(most * self._guess.failing)
        texts = [f"Explain {_words('same' if n < same else f'{mark} {n}', 10)}." for n in range(most)]
        if request.schema is not None:
            return json.dumps({"tasks": [{"instruction": text, "output": "So."} if whole else text for text in texts]})
        # a base model's prompt ends where the first of them begins: "9.", or "4. Instruction:" for a whole one
        first = int((request.prompt or "").removesuffix(" Instruction:").rstrip(".").rpartition("\n")[2])
        entries = [f"{first + n}. {'Instruction: ' if whole else ''}{text}" for n, text in enumerate(texts)]
        if whole:
            entries = [f"{entry}\n{first + n}. Output: So." for n, entry in enumerate(entries)]
        return "\n".join(entries).partition(": " if whole else ". ")[2]


def _whole(request: Request) -> bool:
    """Whether a list is of whole tasks, with their outputs: Alpaca's."""
    return "'output'" in str(request.schema) if request.schema is not None else "Output:" in (request.prompt or "")


def _instances(request: Request, mark: str, count: int) -> str:
    """An answer, or the instances of a task, in the form that is asked for."""
    words = [_words(f"{mark} {number}", 10) for number in range(count)]
    labels = "'label'" in str(request.schema) or "Label:" in (request.prompt or "")
    if request.schema is not None:
        return json.dumps({"instances": [{"label" if labels else "output": "one", "input": text} for text in words]})
    if request.prompt is not None:
        return "\n\n".join(f"Label: one\nInput: {text}" if labels else f"Input: {text}\nOutput: one" for text in words)
    return f"It is {words[0]}."


def _words(seed: str, count: int) -> str:
    """Made-up words that depend on nothing but the seed."""
    digits = hashlib.sha512(seed.encode()).hexdigest()
    table = str.maketrans("0123456789abcdef", "bdfgklmnprstvzai")
    return " ".join(f"{digits[at : at + 4].translate(table)}o" for at in range(0, 4 * count, 4))
