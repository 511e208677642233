"""Alpaca (Taori et al. 2023): Self-Instruct in one call, many tasks with their inputs and outputs at a time.

A request shows three seed tasks, never generated ones. The rules are those on instructions; there are none on instances
but that an output must be there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from evolgen.asking import Ask
from evolgen.curate.filters.selection import Filter
from evolgen.errors import TeacherError
from evolgen.parsing.forms import TASKS
from evolgen.pipelines.draft import Draft
from evolgen.pipelines.growing import Question, admitted, candidates
from evolgen.pipelines.pool import Pool
from evolgen.prompts import PromptLibrary
from evolgen.records import Record

NAME = "alpaca"

SEEDS = 3
LIST = 20
"""Tasks of a list, the seeds that it begins with included."""

TEMPERATURE = 1.0
TOP_P = 1.0


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run asks."""

    question: Question
    rules: Filter
    max_tokens: int

    @property
    def rows_at_best(self) -> int:
        """Rows that a request gives if all of it is good."""
        return LIST - SEEDS

    def prompts(self) -> dict[str, str]:
        """The digest of each template, by its name."""
        return {self.question.template.name: self.question.template.digest}


async def grow(number: int, ask: Ask, plan: Plan, pool: Pool) -> AsyncIterator[Record]:
    """One request: yields a row for each task of its answer, accepted or rejected."""

    async def invent() -> list[Draft | Record]:
        seeds = pool.seeds(number, SEEDS)
        question = plan.question
        draft = Draft(NAME, "tasks", parents=tuple(seed.id for seed in seeds), prompt=question.template.digest)
        lead = f"###\n{len(seeds) + 1}. Instruction:" if question.completion else ""
        request = question.request(
            [(seed.instruction, seed.input, seed.output) for seed in seeds],
            lead=lead,
            sample=number,
            max_tokens=plan.max_tokens,
            before=str(len(seeds)),
            more=str(LIST - len(seeds)),
        )
        try:
            answer = await draft.hear(ask, request)
        except TeacherError as error:
            return [draft.failed(error)]
        return candidates(draft, lead + answer.text, question, cut=answer.cut)

    for each in await admitted(number, invent, pool, plan.rules):
        if isinstance(each, Record):
            yield each
        else:
            yield each.end() if each.output else each.reject("parse", "empty_answer", "the output is empty")


def make_plan(
    prompts: PromptLibrary,
    *,
    rules: Filter,
    completion: bool = False,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int,
) -> Plan:
    """Load the template and fill in what isn't set."""
    name = "alpaca/completion/tasks" if completion else "alpaca/tasks"
    question = Question(
        "invent",
        prompts.load(name, needs=("demonstrations",)),
        TASKS,
        LIST - SEEDS,
        temperature=TEMPERATURE if temperature is None else temperature,
        top_p=TOP_P if top_p is None else top_p,
        stop=(f"\n{LIST + 1}.",),
        completion=completion,
    )
    return Plan(question, rules, max_tokens)
