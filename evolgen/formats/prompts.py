"""Raw rows -> prompts that are to be answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evolgen.formats.inputs import Inputs
from evolgen.formats.rows import RawRow
from evolgen.formats.seeds import instruction_of
from evolgen.formats.texts import ASSISTANT, HUMAN, TURN_KEYS, Unusable, turns_of
from evolgen.records import Message, Prompt, unprintable

SYSTEM = ("system", "developer")


def read_prompts(rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> Inputs[Prompt]:
    """The prompts of a run; raises UsageError as `Inputs` does."""
    return Inputs(rows, prompt_of, pipeline, strict=strict)


def prompt_of(row: Any) -> Prompt:
    """What a row asks, in any known shape; raises Unusable. Answers that it has are left out.

    A conversation keeps its turns up to the last one of the user.

    >>> prompt_of({"instruction": "Add.", "input": "1 2", "output": "4"})
    Prompt(instruction='Add.', input='1 2', messages=None)
    >>> prompt_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}).messages
    (('user', 'Hi'),)
    """
    if isinstance(row, dict) and not isinstance(row.get("instruction"), str):
        for key in TURN_KEYS:
            if isinstance(row.get(key), list):
                messages = _messages(row[key])
                said = "\n\n".join(text for role, text in messages if role != "system")
                return Prompt(instruction=said, messages=messages)
    instruction, input = instruction_of(row)
    return Prompt(instruction=instruction, input=input)


def _messages(turns: Sequence[Any]) -> tuple[Message, ...]:
    said = turns_of(turns)
    if len(said) < len(turns):
        raise Unusable("unknown_shape", "a turn of the conversation holds no text")
    messages = [(_role(role, number), text.strip()) for number, (role, text) in enumerate(said, start=1)]
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


def _role(name: str, number: int) -> str:
    if name in SYSTEM:
        return "system"
    if name not in (*HUMAN, *ASSISTANT):
        raise Unusable("unknown_shape", f"turn {number} of the conversation is by {name or 'nobody'}, who is unknown")
    return "user" if name in HUMAN else "assistant"
