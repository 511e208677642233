"""Evol-Instruct (WizardLM, Xu et al. 2023, section 3): evolve an instruction round by round, answer each evolution.

One lineage starts from one seed. In each round one operator is drawn and the teacher rewrites the current
instruction; what survives elimination is answered and becomes the current instruction; what fails is rejected,
and its parent goes into the next round unchanged.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from evolgen.asking import Ask, Request, Role
from evolgen.curate import elimination
from evolgen.errors import Refused, TeacherError, UsageError, nearest
from evolgen.parsing import instruction_and_input, tagged, verdict
from evolgen.pipelines.draft import CUT, Draft, draw
from evolgen.prompts import PromptLibrary, Template
from evolgen.records import Message, Record, Seed, unprintable

NAME = "evol-instruct"
GROUP = "evol_instruct"

DATA_FORMATS = ("a JSON document", "an XML document", "an SQL table definition with rows", "Python code",
                "an HTML fragment", "a shell session", "a CSV table")  # fmt: skip
"""What `complicate_input` asks the teacher to add, one drawn for each call."""

SEED = "seed"
"""What stands for an operator in the row of a seed itself."""

TEMPERATURE = 1.0
TOP_P = 0.95


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run asks: the operators with their weights, and the settings.

    `rules` are the elimination rules in force.
    """

    operators: Mapping[str, Template]
    weights: Mapping[str, float]
    judge: Template
    rules: frozenset[str]
    rounds: int
    seed: int
    include_seeds: bool
    max_tokens: int
    temperature: float = TEMPERATURE
    top_p: float = TOP_P

    def prompts(self) -> dict[str, str]:
        """The digest of each template, by its name."""
        return {template.name: template.digest for template in (*self.operators.values(), self.judge)}

    def draw_operator(self, visit: Visit, round: int) -> Template:
        names = list(self.weights)
        bounds = list(itertools.accumulate(self.weights[name] for name in names))
        at = self.draw(visit, round, "operator") * bounds[-1]
        return self.operators[names[min(bisect.bisect_right(bounds, at), len(names) - 1)]]

    def evolving(self, visit: Visit, round: int, parent: Seed, operator: Template) -> Request:
        """The question that asks for an evolution of `parent`."""
        data_format = DATA_FORMATS[int(self.draw(visit, round, "data_format") * len(DATA_FORMATS))]
        task = tagged(parent.instruction, parent.input)
        return self.generate("evolve", operator.render(instruction=task, data_format=data_format), visit.number)

    def generate(self, role: Role, messages: tuple[Message, ...], sample: int) -> Request:
        """A generating call, as opposed to a judge's: it takes the run's sampling."""
        return Request(
            role,
            messages,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            sample=sample,
        )

    def draw(self, visit: Visit, round: int, what: str) -> float:
        """A number in [0, 1) that depends on nothing but its lineage, its round and what it is for."""
        return draw(self.seed, visit.seed.id, visit.seed.occurrence, visit.number, round, what)


@dataclass(frozen=True)
class Visit:
    """A seed, and which pass over the seeds this is (from 0)."""

    seed: Seed
    number: int = 0


async def evolve(visit: Visit, ask: Ask, plan: Plan) -> AsyncIterator[Record]:
    """One lineage: yields a row for each round (and one for the seed itself, if wanted), accepted or rejected.

    A teacher that gives no answer ends the lineage; a question that it refuses costs only its own row.
    """
    current = visit.seed
    asked: Counter[Request] = Counter()
    if plan.include_seeds and visit.number == 0:
        draft = _draft(visit, SEED, 0, instruction=current.instruction, input=current.input)
        row, answered = await _or_failure(draft, _answer(draft, ask, plan))
        yield row
        if not answered:
            return
    for round in range(1, plan.rounds + 1):
        operator = plan.draw_operator(visit, round)
        draft = _draft(visit, operator.name, round, parents=(current.id,), prompt=operator.digest)
        question = plan.evolving(visit, round, current, operator)
        asked[question] += 1  # after a failed evolution the same operator may be drawn for the same parent again
        question = replace(question, repeat=asked[question] - 1)
        row, answered = await _or_failure(draft, _evolve_once(draft, current, question, ask, plan))
        yield row
        if not answered:
            return
        if row.rejection is None:
            current = Seed(instruction=row.instruction, input=row.input)


async def _or_failure(draft: Draft, attempt: Awaitable[Record]) -> tuple[Record, bool]:
    """The row that an attempt ends in, and whether the lineage may go on after it."""
    try:
        return await attempt, True
    except TeacherError as error:
        return draft.failed(error), isinstance(error, Refused)


def _draft(visit: Visit, operator: str, round: int, **known: Any) -> Draft:
    return Draft(NAME, operator, visit.seed.id, round, visit.number, **known)


async def _evolve_once(draft: Draft, parent: Seed, question: Request, ask: Ask, plan: Plan) -> Record:
    """Evolve an instruction and answer it; what can be judged on the instruction is judged before that is paid."""
    answer = await draft.hear(ask, question)
    if answer.cut:
        return draft.reject("parse", "cut", CUT.format("evolved instruction", plan.max_tokens), raw=answer.text)
    if bad := unprintable(answer.text):
        return draft.reject("parse", "unprintable", f"the evolved instruction has a {bad}", raw=answer.text)
    instruction, input = instruction_and_input(answer.text)
    if not instruction:
        return draft.reject("parse", "empty", "the evolved instruction is empty", raw=answer.text)
    draft.instruction, draft.input = instruction, input
    if "prompt_leak" in plan.rules and (reason := elimination.prompt_leak(f"{instruction}\n{input}")):
        return draft.reject("eliminate", "prompt_leak", reason)
    if "equal" in plan.rules and (reason := await _equal(draft, parent, ask, plan)):
        return draft.reject("eliminate", "equal", reason)
    return await _answer(draft, ask, plan)


async def _equal(draft: Draft, parent: Seed, ask: Ask, plan: Plan) -> str | None:
    """Rule 1: the reason to eliminate if the evolution is equal to its parent. An unreadable verdict is none."""
    before, after = tagged(parent.instruction, parent.input), tagged(draft.instruction, draft.input)
    if reason := elimination.repeats_parent(after, before):
        return reason
    messages = plan.judge.render(first=before, second=after)
    request = Request("judge", messages, temperature=0.0, max_tokens=plan.max_tokens, sample=draft.sample)
    try:
        said = verdict((await draft.hear(ask, request)).text)
    except Refused:
        said = None
    if said is None:
        draft.notes += ("no_verdict",)
    return "the judge finds it equal to its parent" if said == "equal" else None


async def _answer(draft: Draft, ask: Ask, plan: Plan) -> Record:
    """Answer the draft's instruction, and eliminate it if the answer shows that it failed."""
    question = f"{draft.instruction}\n\n{draft.input}" if draft.input else draft.instruction
    rejected = await draft.take_output(ask, plan.generate("answer", (("user", question),), draft.sample))
    if rejected is not None:
        return rejected
    for name, rule in elimination.ANSWER_RULES.items():
        if name in plan.rules and (reason := rule(draft.output)):
            return draft.reject("eliminate", name, reason)
    return draft.end()


def make_plan(
    prompts: PromptLibrary,
    *,
    weights: Mapping[str, float] | None,
    no_rule: Collection[str] = (),
    temperature: float | None = None,
    top_p: float | None = None,
    rounds: int,
    seed: int,
    include_seeds: bool,
    max_tokens: int,
) -> Plan:
    """Load the templates and fill in what isn't set; raises UsageError for an unknown operator or a bad template."""
    known = prompts.names(GROUP)
    chosen = dict(weights) if weights else dict.fromkeys(known, 1.0)
    for name in chosen:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"--operators {name}: there is no such operator{hint} (known: {', '.join(known)})")
    return Plan(
        operators={name: _operator(prompts, name) for name in chosen},
        weights=dict(sorted(chosen.items())),  # the order in which they were named decides nothing
        judge=prompts.load("judge/equal", needs=("first", "second")),
        rules=elimination.RULES - set(no_rule),
        rounds=rounds,
        seed=seed,
        include_seeds=include_seeds,
        max_tokens=max_tokens,
        temperature=TEMPERATURE if temperature is None else temperature,
        top_p=TOP_P if top_p is None else top_p,
    )


def _operator(prompts: PromptLibrary, name: str) -> Template:
    return replace(prompts.load(f"{GROUP}/{name}", needs=("instruction",)), name=name)
