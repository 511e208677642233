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
from evolgen.config.self_instruct import SelfInstructConfig
from evolgen.curate.filters import instructions
from evolgen.curate.filters.selection import Filter
from evolgen.errors import TeacherError
from evolgen.parsing import yes_or_no
from evolgen.parsing.forms import INSTANCES, INSTRUCTIONS, LABELLED, Choice, Form
from evolgen.parsing.lists import Entry, Unread
from evolgen.pipelines.draft import CUT, Draft, draw, together
from evolgen.pipelines.growing import Question, admitted, candidates, unread
from evolgen.pipelines.pool import Pool, seen_by
from evolgen.prompts import PromptLibrary, Template
from evolgen.records import Record, Texts, printable, record_id, unprintable

NAME = "self-instruct"

ROLES: tuple[Role, ...] = ("invent", "judge", "answer")

DEMONSTRATIONS = 8
GENERATED = 2
"""Demonstrations that come from the pool, once there are so many."""

LIST = 15
"""Tasks of a list, the demonstrations that it begins with included; the original stops at 16."""

TEMPERATURE, TOP_P, PRESENCE_PENALTY = 0.7, 0.5, 2.0
INSTANCES_PRESENCE_PENALTY = 1.5

ROWS_AT_BEST = LIST - DEMONSTRATIONS
"""Rows that a request gives if all of it is good, with one instance a task."""

YES_OR_NO = Choice("No", "Yes")
"""Whether a task is a classification; most are not."""

NEXT_TASK = "\nTask:"
"""Where a base model begins to make up the next question of a few-shot prompt."""


@dataclass(frozen=True)
class Stages:
    """One question for each stage, and the rules in force."""

    invent: Question
    classify: Question
    output_first: Question
    input_first: Question
    rules: Filter

    def templates(self) -> list[Template]:
        """The templates that are asked with."""
        return [each.template for each in (self.invent, self.classify, self.output_first, self.input_first)]


async def grow(number: int, ask: Ask, config: SelfInstructConfig, stages: Stages, pool: Pool) -> AsyncIterator[Record]:
    """One request and what grows from it: yields rows for each task, accepted or rejected, in the answer's order."""

    async def invent() -> list[Draft | Record]:
        return await _invent(number, ask, config, stages, pool)

    tasks = await admitted(number, invent, pool, stages.rules)
    grown = iter(await together(_instances(task, ask, config, stages) for task in tasks if isinstance(task, Draft)))
    for task in tasks:
        rows = [task] if isinstance(task, Record) else next(grown)
        if isinstance(rows, BaseException):
            raise rows
        for row in rows:
            yield row


async def _invent(
    number: int, ask: Ask, config: SelfInstructConfig, stages: Stages, pool: Pool
) -> list[Draft | Record]:
    """Stage 1: new instructions, and a rejected row for each piece of the answer that is none."""
    settled = seen_by(number, config.lag)
    await pool.wait_for(settled)
    generated = pool.generated(number, GENERATED, settled)
    shown = [(seed.instruction, seed.id) for seed in pool.seeds(number, DEMONSTRATIONS - len(generated))]
    shown += [(instruction, record_id(instruction, "")) for instruction in generated]
    shown.sort(key=lambda each: draw(config.seed, number, "order", each[1]))
    draft = Draft(NAME, "instruction", parents=tuple(id for _, id in shown), prompt=stages.invent.template.digest)
    lead = f"{len(shown) + 1}." if stages.invent.completion else ""
    request = stages.invent.request(
        [(instruction,) for instruction, _ in shown],
        lead=lead,
        sample=number,
        max_tokens=config.max_tokens,
        before=str(len(shown)),
        more=str(LIST - DEMONSTRATIONS),
    )
    try:
        answer = await draft.hear(ask, request)
    except TeacherError as error:
        return [draft.failed(error)]
    if answer.cut:
        return [draft.reject("parse", "cut", CUT.format("list of tasks", config.max_tokens), raw=answer.text)]
    return candidates(draft, f"{lead} {answer.text}".strip(), stages.invent, cut=False)


async def _instances(draft: Draft, ask: Ask, config: SelfInstructConfig, stages: Stages) -> list[Record]:
    """Stages 2 to 4: the rows of a task."""
    try:
        question = await _question_for(draft, ask, config, stages)
        answer = await draft.hear(ask, question.request(instruction=draft.instruction, max_tokens=config.max_tokens))
    except TeacherError as error:
        return [draft.failed(error)]
    form = question.form
    assert form is not None
    found = form.read(answer.text, cut=answer.cut)
    if not found:
        return [draft.reject("parse", "empty_answer", "the answer holds no instances", raw=answer.text)]
    rows = [unread(draft, piece) if isinstance(piece, Unread) else _instance(draft, form, piece) for piece in found]
    judged = [_by_rules(row, stages.rules) if isinstance(row, Draft) else row for row in rows]
    return _judged(draft, judged, stages.rules)


async def _question_for(draft: Draft, ask: Ask, config: SelfInstructConfig, stages: Stages) -> Question:
    """Stage 2: output first for a classification, else input first, also where the verdict can't be read."""
    asked = stages.classify.request(instruction=draft.instruction, max_tokens=config.max_tokens)
    classification = yes_or_no((await draft.hear(ask, asked)).text)
    if classification is None:
        draft.notes += ("no_verdict",)
    draft.operator = "output_first" if classification else "input_first"
    return stages.output_first if classification else stages.input_first


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


def load(config: SelfInstructConfig, prompts: PromptLibrary, rules: Filter) -> Stages:
    """The questions with their templates; raises UsageError if one of these is none.

    `temperature` and `top_p` are those of instructions and instances. With `completion` the questions are few-shot
    texts for a base model.
    """
    folder = "self_instruct/completion" if config.completion else "self_instruct"

    def question(
        role: Role, name: str, form: Form | None, most: int, needs: str = "instruction", **how: Any
    ) -> Question:
        template = prompts.load(f"{folder}/{name}", needs=(needs,))
        return Question(role, template, form, most, completion=config.completion, **how)

    instances: dict[str, Any] = {
        "temperature": config.temperature or 0.0,
        "top_p": config.top_p,
        "presence_penalty": INSTANCES_PRESENCE_PENALTY,
        "stop": (NEXT_TASK,),
    }
    return Stages(
        invent=question(
            "invent",
            "instructions",
            INSTRUCTIONS,
            LIST - DEMONSTRATIONS,
            "demonstrations",
            temperature=TEMPERATURE if config.temperature is None else config.temperature,
            top_p=TOP_P if config.top_p is None else config.top_p,
            presence_penalty=PRESENCE_PENALTY,
            stop=("\n\n", f"\n{LIST + 1}."),
            many=True,
        ),
        classify=question("judge", "classification", None, 1, temperature=0.0, stop=(NEXT_TASK,), choice=YES_OR_NO),
        output_first=question("answer", "output_first", LABELLED, instructions.MOST_INSTANCES, **instances),
        input_first=question("answer", "input_first", INSTANCES, instructions.MOST_INSTANCES, **instances),
        rules=rules,
    )
