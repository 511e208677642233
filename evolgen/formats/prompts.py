"""Rows of any known shape -> questions that are to be answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evolgen.formats.inputs import Inputs
from evolgen.formats.rows import RawRow
from evolgen.formats.seeds import instruction_of
from evolgen.formats.shapes import ASSISTANT, HUMAN, SYSTEM, Spoken, Unusable, read_row
from evolgen.records import Message, Prompt, unprintable


def read_prompts(rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> Inputs[Prompt]:
    """The prompts of a run; raises UsageError as `Inputs` does."""
    return Inputs(rows, prompt_of, pipeline, strict=strict)


def prompt_of(value: Any) -> Prompt:
    """What a row asks, in any known shape; raises Unusable. Answers that it has are left out.

    A conversation keeps its turns up to the last one of the user.

    >>> prompt_of({"instruction": "Add.", "input": "1 2", "output": "4"})
    Prompt(instruction='Add.', input='1 2', messages=None)
    >>> prompt_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}).messages
    (('user', 'Hi'),)
    """
    turns = read_row(value).turns
    if turns is None:
        return Prompt(*instruction_of(value))
    messages = _messages(turns)
    said = "\n\n".join(text for role, text in messages if role != "system")
    return Prompt(instruction=said, messages=messages)


def _messages(turns: Sequence[Spoken]) -> tuple[Message, ...]:
    messages = [_message(turn, number) for number, turn in enumerate(turns, start=1)]
    while messages and messages[-1][0] != "user":
        messages.pop()
    if not messages:
        raise Unusable("no_instruction", "the conversation has no human turn")
    for number, (_, text) in enumerate(messages, start=1):
        if not text:
            raise Unusable("no_instruction", f"turn {number} of the conversation is empty")
        if bad := unprintable(text):
            raise Unusable("unprintable", f"turn {number} of the conversation has a {bad}")
    return tuple(messages)


def _message(turn: Spoken, number: int) -> Message:
    if turn.text is None:
        raise Unusable("unknown_shape", f"turn {number} of the conversation holds no text")
    if turn.role in SYSTEM:
        return "system", turn.text.strip()
    if turn.role not in (*HUMAN, *ASSISTANT):
        who = turn.role or "nobody"
        raise Unusable("unknown_shape", f"turn {number} of the conversation is by {who}, who is unknown")
    return "user" if turn.role in HUMAN else "assistant", turn.text.strip()
