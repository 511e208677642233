"""Rows of any known shape -> questions that are to be answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evolgen.formats.inputs import Inputs
from evolgen.formats.rows import RawRow
from evolgen.formats.seeds import before_of, question_of
from evolgen.formats.shapes import Spoken, Unusable, read_row
from evolgen.records import Message, Prompt


def read_prompts(rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> Inputs[Prompt]:
    """The prompts of a run; raises UsageError as `Inputs` does."""
    return Inputs(rows, prompt_of, pipeline, strict=strict)


def prompt_of(value: Any) -> Prompt:
    """What a row asks, in any known shape; raises Unusable. Answers that it has are left out.

    A conversation keeps its turns up to the last one of the user; a single question that comes with a system message or
    a history is one, too.

    >>> prompt_of({"instruction": "Add.", "input": "1 2", "output": "4"})
    Prompt(instruction='Add.', input='1 2', messages=None)
    >>> prompt_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}).messages
    (('user', 'Hi'),)
    """
    row = read_row(value)
    turns = row.turns
    if turns is None:
        instruction, input = question_of(row)
        if not row.before:
            return Prompt(instruction, input)
        turns = (*row.before, Spoken("user", Prompt(instruction, input).text))
    messages = conversation_of(turns)
    said = "\n\n".join(text for role, text in messages if role != "system")
    return Prompt(instruction=said, messages=messages)


def conversation_of(turns: Sequence[Spoken]) -> tuple[Message, ...]:
    """The messages of a conversation up to the user's last; raises Unusable where one of them can't be put so."""
    asked = max((number for number, turn in enumerate(turns, start=1) if turn.role == "user"), default=0)
    if not asked:
        raise Unusable("no_instruction", "the conversation has no human turn")
    if not (turns[asked - 1].text or "x").strip():
        raise Unusable("no_instruction", "the user's last turn is empty")
    return before_of(turns[:asked])
