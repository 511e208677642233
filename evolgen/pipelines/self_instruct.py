"""Self-Instruct (Wang et al. 2022, section 2.2): four stages that grow a pool of tasks from seed tasks.

A request (1) shows 6 seed tasks and 2 of the pool and asks for more; what passes the rules and is new joins the pool.
Of each such task it is asked (2) whether it is a classification, and (3) for instances: label first where it is, input
first where it isn't. What passes the rules on instances (4) becomes rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolgen.asking import Ask, Role
from evolgen.curate.filters import instructions
from evolgen.curate.filters.selection import Filter
from evolgen.errors import TeacherError
from evolgen.parsing import yes_or_no
from evolgen.parsing.forms import INSTANCES, INSTRUCTIONS, LABELLED, Form
from evolgen.parsing.lists import Entry, Unread
from evolgen.pipelines.draft import CUT, Draft, draw, together
from evolgen.pipelines.growing import Question, admitted, candidates, unread
from evolgen.pipelines.pool import Pool, seen_by
from evolgen.prompts import PromptLibrary
from evolgen.records import Record, Texts, printable, record_id, unprintable

NAME = "self-instruct"

DEMONSTRATIONS = 8
GENERATED = 2
"""Demonstrations that come from the pool, once there are so many."""

LIST = 15
"""Tasks of a list, the demonstrations that it begins with included; the original stops at 16."""

TEMPERATURE, TOP_P, PRESENCE_PENALTY = 0.7, 0.5, 2.0
INSTANCES_PRESENCE_PENALTY = 1.5

NEXT_TASK = "\nTask:"
"""Where a base model begins to make up the next question of a few-shot prompt."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run asks: one question for each stage, the rules in force, the lag of the pool."""

    invent: Question
    classify: Question
    output_first: Question
    input_first: Question
    rules: Filter
    lag: int
    seed: int
    max_tokens: int

    @property
    def rows_at_best(self) -> int:
        """Rows that a request gives if all of it is good, with one instance a task."""
        return LIST - DEMONSTRATIONS

    def prompts(self) -> dict[str, str]:
        """The digest of each template, by its name."""
        questions = (self.invent, self.classify, self.output_first, self.input_first)
        return {question.template.name: question.template.digest for question in questions}


async def grow(number: int, ask: Ask, plan: Plan, pool: Pool) -> AsyncIterator[Record]:
    """One request and what grows from it: yields rows for each task, accepted or rejected, in the answer's order."""

    async def invent() -> list[Draft | Record]:
        return await _invent(number, ask, plan, pool)

    tasks = await admitted(number, invent, pool, plan.rules)
    grown = iter(await together(_instances(task, ask, plan) for task in tasks if isinstance(task, Draft)))
    for task in tasks:
        rows = [task] if isinstance(task, Record) else next(grown)
        if isinstance(rows, BaseException):
            raise rows
        for row in rows:
            yield row


async def _invent(number: int, ask: Ask, plan: Plan, pool: Pool) -> list[Draft | Record]:
    """Stage 1: new instructions, and a rejected row for each piece of the answer that is none."""
    settled = seen_by(number, plan.lag)
    await pool.wait_for(settled)
    generated = pool.generated(number, GENERATED, settled)
    shown = [(seed.instruction, seed.id) for seed in pool.seeds(number, DEMONSTRATIONS - len(generated))]
    shown += [(instruction, record_id(instruction, "")) for instruction in generated]
    shown.sort(key=lambda each: draw(plan.seed, number, "order", each[1]))
    draft = Draft(NAME, "instruction", parents=tuple(id for _, id in shown), prompt=plan.invent.template.digest)
    lead = f"{len(shown) + 1}." if plan.invent.completion else ""
    request = plan.invent.request(
        [(instruction,) for instruction, _ in shown],
        lead=lead,
        sample=number,
        max_tokens=plan.max_tokens,
        before=str(len(shown)),
        more=str(LIST - DEMONSTRATIONS),
    )
    try:
        answer = await draft.hear(ask, request)
    except TeacherError as error:
        return [draft.failed(error)]
    if answer.cut:
        return [draft.reject("parse", "cut", CUT.format("list of tasks", plan.max_tokens), raw=answer.text)]
    return candidates(draft, f"{lead} {answer.text}".strip(), plan.invent, cut=False)


async def _instances(draft: Draft, ask: Ask, plan: Plan) -> list[Record]:
    """Stages 2 to 4: the rows of a task."""
    try:
        question = await _question_for(draft, ask, plan)
        answer = await draft.hear(ask, question.request(instruction=draft.instruction, max_tokens=plan.max_tokens))
    except TeacherError as error:
        return [draft.failed(error)]
    form = question.form
    assert form is not None
    found = form.read(answer.text, cut=answer.cut)
    if not found:
        return [draft.reject("parse", "empty_answer", "the answer holds no instances", raw=answer.text)]
    rows = [unread(draft, piece) if isinstance(piece, Unread) else _instance(draft, form, piece) for piece in found]
    return _judged(draft, [_by_rules(row, plan.rules) if isinstance(row, Draft) else row for row in rows], plan.rules)


async def _question_for(draft: Draft, ask: Ask, plan: Plan) -> Question:
    """Stage 2: output first for a classification, else input first, also where the verdict can't be read."""
    asked = plan.classify.request(instruction=draft.instruction, max_tokens=plan.max_tokens)
    classification = yes_or_no((await draft.hear(ask, asked)).text)
    if classification is None:
        draft.notes += ("no_verdict",)
    draft.operator = "output_first" if classification else "input_first"
    return plan.output_first if classification else plan.input_first


def _instance(draft: Draft, form: Form, entry: Entry) -> Draft | Record:
    texts = dict(zip(form.fields, entry, strict=True))
    if bad := unprintable("".join(entry)):
        return draft.reject("parse", "unprintable", f"it has a {bad}", raw="\n".join(entry))
    return replace(draft, input=texts["input"], output=texts.get("output", texts.get("label", "")))


def _by_rules(draft: Draft, rules: Filter) -> Draft | Record:
    complaint = rules.judge(Texts(draft.instruction, draft.input, draft.output))
    return draft if complaint is None else draft.reject("filter", complaint.rule, printable(complaint.reason))


def _judged(task: Draft, rows: Sequence[Draft | Record], rules: Filter) -> list[Record]:
    """Stage 4, the rules on all instances of a task together; equal questions with different answers get a number."""
    kept: list[tuple[str, str]] = []
    pairs = [(row.input, row.output) for row in rows if isinstance(row, Draft)]
    conflict = None
    if pairs and "conflicting_outputs" in rules.settings:
        conflict = instructions.conflicting_outputs(Texts(task.instruction, *pairs[0], tuple(pairs[1:])))
    most = rules.settings.get("too_many_instances", len(rows))
    judged = []
    for row in rows:
        if isinstance(row, Record):
            judged.append(row)
        elif conflict is not None:
            judged.append(row.reject("filter", "conflicting_outputs", printable(conflict)))
        elif (row.input, row.output) in kept:
            judged.append(row.reject("filter", "repeated_instance", "the task has the same instance already"))
        elif len(kept) >= most:
            judged.append(row.reject("filter", "too_many_instances", f"the task has {most} instances already"))
        else:
            row.sample = sum(input == row.input for input, _ in kept)
            kept.append((row.input, row.output))
            judged.append(row.end())
    return judged


def make_plan(
    prompts: PromptLibrary,
    *,
    rules: Filter,
    lag: int,
    seed: int,
    completion: bool = False,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int,
) -> Plan:
    """Load the templates and fill in what isn't set; `temperature` and `top_p` are those of instructions and instances.

    With `completion` the questions are few-shot texts for a base model.
    """
    folder = "self_instruct/completion" if completion else "self_instruct"

    def question(
        role: Role, name: str, form: Form | None, most: int, needs: str = "instruction", **how: Any
    ) -> Question:
        template = prompts.load(f"{folder}/{name}", needs=(needs,))
        return Question(role, template, form, most, completion=completion, **how)

    instances: dict[str, Any] = {
        "temperature": temperature or 0.0,
        "top_p": top_p,
        "presence_penalty": INSTANCES_PRESENCE_PENALTY,
        "stop": (NEXT_TASK,),
    }
    return Plan(
        invent=question(
            "invent",
            "instructions",
            INSTRUCTIONS,
            LIST - DEMONSTRATIONS,
            "demonstrations",
            temperature=TEMPERATURE if temperature is None else temperature,
            top_p=TOP_P if top_p is None else top_p,
            presence_penalty=PRESENCE_PENALTY,
            stop=("\n\n", f"\n{LIST + 1}."),
        ),
        classify=question("judge", "classification", None, 1, temperature=0.0, stop=(NEXT_TASK,)),
        output_first=question("answer", "output_first", LABELLED, instructions.MOST_INSTANCES, **instances),
        input_first=question("answer", "input_first", INSTANCES, instructions.MOST_INSTANCES, **instances),
        rules=rules,
        lag=lag,
        seed=seed,
        max_tokens=max_tokens,
    )
