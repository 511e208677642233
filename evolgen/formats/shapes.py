"""The shapes that rows have -> what they say: `read_row`, the one reader of them all.

What commands work on are views of it: seeds (`formats.seeds`), questions (`formats.prompts`), and the texts that rules
are tried on (`formats.texts`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

INSTRUCTION_KEYS = ("instruction", "prompt", "question", "text")
INPUT_KEYS = ("input", "context")
OUTPUT_KEYS = ("output", "response", "completion", "answer")
TURN_KEYS = ("messages", "conversations", "turns")
TEXT_KEYS = frozenset((*INSTRUCTION_KEYS, *INPUT_KEYS, *OUTPUT_KEYS, "content", "value"))

HUMAN = ("user", "human")
ASSISTANT = ("assistant", "gpt", "chatgpt", "bot", "model")
SYSTEM = ("system", "developer")


class Unusable(ValueError):
    """A row that doesn't hold what is wanted of it; the message says why."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class Spoken(NamedTuple):
    """One turn of a conversation: who says what; `text` is None where it can't be read."""

    role: str
    text: str | None


class Row(NamedTuple):
    """What a row says, as it stands: `turns`, or an instruction with its input and output.

    `output` is None where the row has no place for an answer at all. Of a Self-Instruct task with instances `input` and
    `output` are the first one's, and `more` are the (input, output) of the others.
    """

    instruction: str = ""
    input: str = ""
    output: str | None = None
    more: tuple[tuple[str, str | None], ...] = ()
    turns: tuple[Spoken, ...] | None = None


def read_row(value: Any) -> Row:
    """Read a row of any known shape; raises Unusable.

    Known are a bare text, Alpaca and GPTeacher (instruction, input, output), prompt and completion, Self-Instruct
    (instruction, instances), and conversations (messages, ShareGPT, turns), which count before a prompt or a text
    beside them.

    >>> read_row({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}, {"input": "2", "output": "2"}]})
    Row(instruction='Add.', input='1 2', output='3', more=(('2', '2'),), turns=None)
    >>> read_row({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}).turns
    (Spoken(role='human', text='Hi'), Spoken(role='gpt', text='Ho'))
    """
    if isinstance(value, str):
        return Row(value)
    if not isinstance(value, dict):
        raise Unusable("unknown_shape", f"a row must be an object or a text, not {type(value).__name__}")
    instruction = value.get("instruction")
    if isinstance(instruction, str):
        return _single(instruction, value)
    if instruction is not None:
        raise Unusable("unknown_shape", f"instruction must be a text, not {type(instruction).__name__}")
    conversations = [value[key] for key in TURN_KEYS if isinstance(value.get(key), list)]
    for turns in conversations:
        if turns:
            return Row(turns=_turns(turns))
    for key in INSTRUCTION_KEYS:
        if isinstance(value.get(key), str):
            return _single(value[key], value)
    if conversations:
        return Row(turns=())
    known = ", ".join((*INSTRUCTION_KEYS, *TURN_KEYS))
    raise Unusable("unknown_shape", f"the row has none of the fields {known}")


def _single(instruction: str, row: Mapping[str, Any]) -> Row:
    instances = row.get("instances")
    if isinstance(instances, list) and instances and all(isinstance(each, dict) for each in instances):
        (first, *more) = (_instance(each) for each in instances)
        return Row(instruction, *first, tuple(more))
    return Row(instruction, *_instance(row))


def _instance(row: Mapping[str, Any]) -> tuple[str, str | None]:
    return _first(row, INPUT_KEYS) or "", _first(row, OUTPUT_KEYS)


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of some fields that there is, as a text; None where there is none."""
    for key in keys:
        if key in row:
            value = row[key]
            if isinstance(value, str):
                return value
            return "" if value is None else json.dumps(value, ensure_ascii=False)
    return None


def _turns(turns: Sequence[Any]) -> tuple[Spoken, ...]:
    """The turns of a conversation; bare texts are a person's."""
    return tuple(Spoken(HUMAN[0], turn) if isinstance(turn, str) else _turn(turn) for turn in turns)


def _turn(turn: Any) -> Spoken:
    if not isinstance(turn, dict):
        return Spoken("", None)
    text = turn.get("content", turn.get("value"))
    return Spoken(str(turn.get("role") or turn.get("from") or "").lower(), text if isinstance(text, str) else None)
