"""Alpaca (Taori et al. 2023): Self-Instruct in one call, many tasks with their inputs and outputs at a time.

A request shows three seed tasks, never generated ones. The rules are those on instructions; there are none on instances
but that an output must be there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from evolgen.asking import Ask, Role
from evolgen.config.self_instruct import SelfInstructConfig
from evolgen.curate.filters.selection import Filter
from evolgen.errors import TeacherError
from evolgen.parsing.forms import TASKS
from evolgen.pipelines.draft import Draft
from evolgen.pipelines.growing import Question, admitted, candidates
from evolgen.pipelines.pool import Pool
from evolgen.prompts import PromptLibrary, Template
from evolgen.records import Record

NAME = "alpaca"

ROLES: tuple[Role, ...] = ("invent",)

SEEDS = 3
LIST = 20
"""Tasks of a list, the seeds that it begins with included."""

ROWS_AT_BEST = LIST - SEEDS
"""Rows that a request gives if all of it is good."""

TEMPERATURE = 1.0
TOP_P = 1.0


@dataclass(frozen=True)
class Stages:
    """The one question, and the rules in force."""

    invent: Question
    rules: Filter

    def templates(self) -> list[Template]:
        """The templates that are asked with."""
        return [self.invent.template]


async def grow(number: int, ask: Ask, config: SelfInstructConfig, stages: Stages, pool: Pool) -> AsyncIterator[Record]:
    """One request: yields a row for each task of its answer, accepted or rejected."""
    question = stages.invent

    async def invent() -> list[Draft | Record]:
        seeds = pool.seeds(number, SEEDS)
        draft = Draft(NAME, "tasks", parents=tuple(seed.id for seed in seeds), prompt=question.template.digest)
        lead = f"###\n{len(seeds) + 1}. Instruction:" if question.completion else ""
        request = question.request(
            [(seed.instruction, seed.input, seed.output) for seed in seeds],
            lead=lead,
            sample=number,
            max_tokens=config.max_tokens,
            before=str(len(seeds)),
            more=str(LIST - len(seeds)),
        )
        try:
            answer = await draft.hear(ask, request)
        except TeacherError as error:
            return [draft.failed(error)]
        return candidates(draft, lead + answer.text, question, cut=answer.cut)

    for each in await admitted(number, invent, pool, stages.rules):
        if isinstance(each, Record):
            yield each
        else:
            yield each.end() if each.output else each.reject("parse", "empty_answer", "the output is empty")


def load(config: SelfInstructConfig, prompts: PromptLibrary, rules: Filter) -> Stages:
    """The question, with its template; raises UsageError if that is none."""
    name = "alpaca/completion/tasks" if config.completion else "alpaca/tasks"
    invent = Question(
        "invent",
        prompts.load(name, needs=("demonstrations",)),
        TASKS,
        ROWS_AT_BEST,
        temperature=TEMPERATURE if config.temperature is None else config.temperature,
        top_p=TOP_P if config.top_p is None else config.top_p,
        stop=(f"\n{LIST + 1}.",),
        completion=config.completion,
        many=True,
    )
    return Stages(invent, rules)
