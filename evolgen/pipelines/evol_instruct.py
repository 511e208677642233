"""Evol-Instruct (WizardLM, Xu et al. 2023, section 3): evolve an instruction round by round, answer each evolution.

One lineage starts from one seed. In each round one operator is drawn and the teacher rewrites the current
instruction; what survives elimination is answered and becomes the current instruction; what fails is rejected,
and its parent goes into the next round unchanged.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolgen.asking import Ask, Request, Role
from evolgen.config.evolve import EvolveConfig
from evolgen.curate import elimination
from evolgen.errors import Refused, TeacherError, UsageError, nearest
from evolgen.parsing import instruction_and_input, tagged, verdict
from evolgen.parsing.forms import Choice, Rewriting
from evolgen.pipelines.draft import CUT, Draft, draw
from evolgen.prompts import PromptLibrary, Template
from evolgen.records import Message, Prompt, Record, Seed, unprintable

NAME = "evol-instruct"
GROUP = "evol_instruct"

DATA_FORMATS = ("a JSON document", "an XML document", "an SQL table definition with rows", "Python code",
                "an HTML fragment", "a shell session", "a CSV table")  # fmt: skip
"""What `complicate_input` asks the teacher to add, one drawn for each call."""

SEED = "seed"
"""What stands for an operator in the row of a seed itself."""

VERDICT = Choice("Not Equal", "Equal")


@dataclass(frozen=True)
class Templates:
    """The templates of a run: one an operator, by its name, and the judge's."""

    operators: Mapping[str, Template]
    judge: Template

    def all(self) -> list[Template]:
        """The templates that are asked with."""
        return [*self.operators.values(), self.judge]


def load(config: EvolveConfig, prompts: PromptLibrary) -> Templates:
    """The templates that some settings call for; raises UsageError for an unknown operator or a bad template."""
    known = prompts.names(GROUP)
    chosen = config.operators or known
    for name in chosen:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"--operators {name}: there is no such operator{hint} (known: {', '.join(known)})")
    # sorted: the order in which operators were named decides nothing
    return Templates(
        operators={
            name: replace(prompts.load(f"{GROUP}/{name}", needs=("instruction",)), name=name) for name in sorted(chosen)
        },
        judge=prompts.load("judge/equal", needs=("first", "second")),
    )


@dataclass(frozen=True)
class Visit:
    """A seed, and which pass over the seeds this is (from 0)."""

    seed: Seed
    number: int = 0


def visits(seeds: Sequence[Seed], config: EvolveConfig) -> Iterator[Visit]:
    """Who is visited in which order: each seed once, or, with a target, pass after pass in a drawn order.

    The order is drawn from each seed's own digest, so that adding a seed leaves the others as they were.
    """
    if config.n is None:
        yield from (Visit(seed) for seed in seeds)
        return
    for number in itertools.count():
        draws = [_draw(Visit(seed, number), 0, "order", config) for seed in seeds]
        for position in sorted(range(len(draws)), key=draws.__getitem__):
            yield Visit(seeds[position], number)


async def evolve(visit: Visit, ask: Ask, config: EvolveConfig, templates: Templates) -> AsyncIterator[Record]:
    """One lineage: yields a row for each round (and one for the seed itself, if wanted), accepted or rejected.

    A teacher that gives no answer ends the lineage; a question that it refuses costs only its own row.
    """
    current = visit.seed
    asked: Counter[Request] = Counter()
    if config.include_seeds and visit.number == 0:
        draft = _draft(visit, SEED, 0, instruction=current.instruction, input=current.input, messages=current.messages)
        row, answered = await _or_failure(draft, _answer(draft, ask, config))
        yield row
        if not answered:
            return
    for round in range(1, config.rounds + 1):
        operator = draw_operator(visit, round, config, templates)
        draft = _draft(visit, operator.name, round, parents=(current.id,), prompt=operator.digest)
        draft.grown_from = current.instruction
        question = _evolving(visit, round, current, operator, config)
        asked[question] += 1  # after a failed evolution the same operator may be drawn for the same parent again
        question = replace(question, repeat=asked[question] - 1)
        row, answered = await _or_failure(
            draft, _evolve_once(draft, current, question, ask, config=config, templates=templates)
        )
        yield row
        if not answered:
            return
        if row.rejection is None:
            current = current.model_copy(update={"instruction": row.instruction, "input": row.input})


def draw_operator(visit: Visit, round: int, config: EvolveConfig, templates: Templates) -> Template:
    """The operator of a round, by the weights of all."""
    names = list(templates.operators)
    bounds = list(itertools.accumulate((config.operators or {}).get(name, 1.0) for name in names))
    at = _draw(visit, round, "operator", config) * bounds[-1]
    return templates.operators[names[min(bisect.bisect_right(bounds, at), len(names) - 1)]]


def _draw(visit: Visit, round: int, what: str, config: EvolveConfig) -> float:
    """A number in [0, 1) that depends on nothing but its lineage, its round and what it is for."""
    return draw(config.seed, visit.seed.id, visit.seed.occurrence, visit.number, round, what)


def _evolving(visit: Visit, round: int, parent: Seed, operator: Template, config: EvolveConfig) -> Request:
    """The question that asks for an evolution of `parent`."""
    data_format = DATA_FORMATS[int(_draw(visit, round, "data_format", config) * len(DATA_FORMATS))]
    task = tagged(parent.instruction, parent.input, parent.before)
    messages = operator.render(instruction=task, data_format=data_format)
    return replace(
        _generating("evolve", messages, visit.number, config), form=Rewriting(tagged(parent.instruction, parent.input))
    )


def _generating(role: Role, messages: tuple[Message, ...], sample: int, config: EvolveConfig) -> Request:
    """A generating call, as opposed to a judge's: it takes the run's sampling."""
    return Request(
        role,
        messages,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        sample=sample,
    )


async def _or_failure(draft: Draft, attempt: Awaitable[Record]) -> tuple[Record, bool]:
    """The row that an attempt ends in, and whether the lineage may go on after it."""
    try:
        return await attempt, True
    except TeacherError as error:
        return draft.failed(error), isinstance(error, Refused)


def _draft(visit: Visit, operator: str, round: int, **known: Any) -> Draft:
    return Draft(NAME, operator, visit.seed.id, round, visit.number, **known)


async def _evolve_once(
    draft: Draft, parent: Seed, question: Request, ask: Ask, *, config: EvolveConfig, templates: Templates
) -> Record:
    """Evolve an instruction and answer it; what can be judged on the instruction is judged before that is paid."""
    rules = _rules(config)
    answer = await draft.hear(ask, question)
    if answer.cut:
        return draft.reject("parse", "cut", CUT.format("evolved instruction", config.max_tokens), raw=answer.text)
    if bad := unprintable(answer.text):
        return draft.reject("parse", "unprintable", f"the evolved instruction has a {bad}", raw=answer.text)
    instruction, input = instruction_and_input(answer.text)
    if not instruction:
        return draft.reject("parse", "empty", "the evolved instruction is empty", raw=answer.text)
    draft.instruction, draft.input = instruction, input
    draft.messages = parent.model_copy(update={"instruction": instruction, "input": input}).messages
    if "prompt_leak" in rules and (reason := elimination.prompt_leak(f"{instruction}\n{input}")):
        return draft.reject("eliminate", "prompt_leak", reason)
    if "equal" in rules and (reason := await _equal(draft, parent, ask, config, templates)):
        return draft.reject("eliminate", "equal", reason)
    return await _answer(draft, ask, config)


async def _equal(draft: Draft, parent: Seed, ask: Ask, config: EvolveConfig, templates: Templates) -> str | None:
    """Rule 1: the reason to eliminate if the evolution is equal to its parent. An unreadable verdict is none."""
    before, after = tagged(parent.instruction, parent.input), tagged(draft.instruction, draft.input)
    if reason := elimination.repeats_parent(after, before):
        return reason
    messages = templates.judge.render(first=before, second=after)
    request = Request(
        "judge", messages, temperature=0.0, max_tokens=config.max_tokens, sample=draft.sample, form=VERDICT
    )
    try:
        said = verdict((await draft.hear(ask, request)).text)
    except Refused:
        said = None
    if said is None:
        draft.notes += ("no_verdict",)
    return "the judge finds it equal to its parent" if said == "equal" else None


async def _answer(draft: Draft, ask: Ask, config: EvolveConfig) -> Record:
    """Answer the draft's instruction, and eliminate it if the answer shows that it failed."""
    messages = draft.messages or (("user", Prompt(draft.instruction, draft.input).text),)
    rejected = await draft.take_output(ask, _generating("answer", messages, draft.sample, config))
    if rejected is not None:
        return rejected
    for name, rule in elimination.ANSWER_RULES.items():
        if name in _rules(config) and (reason := rule(draft.output)):
            return draft.reject("eliminate", name, reason)
    return draft.end()


def _rules(config: EvolveConfig) -> frozenset[str]:
    """The elimination rules in force."""
    return elimination.RULES - set(config.no_rule)
