"""Rows of any known shape -> what they say: `texts_of`, and `with_texts` to change it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from evolgen.formats.rows import RawRow
from evolgen.records import Rejection, Texts, printable, record_id

INSTRUCTION_KEYS = ("instruction", "prompt", "question", "text")
INPUT_KEYS = ("input", "context")
OUTPUT_KEYS = ("output", "response", "completion", "answer")
TURN_KEYS = ("messages", "conversations", "turns")
TEXT_KEYS = frozenset((*INSTRUCTION_KEYS, *INPUT_KEYS, *OUTPUT_KEYS, "content", "value"))
HUMAN = ("user", "human")
ASSISTANT = ("assistant", "gpt", "chatgpt", "bot", "model")


class Unusable(ValueError):
    """A row that holds no instruction; the message says why."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def texts_of(row: Any) -> Texts:
    """What a row in any known shape says, as it stands; raises Unusable.

    Known are a bare text, Alpaca and GPTeacher (instruction, input, output), prompt and completion, Self-Instruct
    (instruction, instances), and conversations (messages, ShareGPT, turns). Of a conversation the last answer is the
    output and the turns before it, without the system's, are the instruction.

    >>> texts_of({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}, {"input": "2", "output": "2"}]})
    Texts(instruction='Add.', input='1 2', output='3', more=(('2', '2'),))
    >>> texts_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})
    Texts(instruction='Hi', input='', output='Ho', more=())
    """
    if isinstance(row, str):
        return Texts(row)
    if not isinstance(row, dict):
        raise Unusable("unknown_shape", f"a row must be an object or a text, not {type(row).__name__}")
    for key in INSTRUCTION_KEYS:
        if isinstance(row.get(key), str):
            instances = row.get("instances")
            if isinstance(instances, list) and instances and all(isinstance(each, dict) for each in instances):
                (first, *more) = ((_first(each, INPUT_KEYS) or "", _first(each, OUTPUT_KEYS)) for each in instances)
                return Texts(row[key], *first, tuple(more))
            return Texts(row[key], _first(row, INPUT_KEYS) or "", _first(row, OUTPUT_KEYS))
        if row.get(key) is not None and key == "instruction":
            raise Unusable("unknown_shape", f"{key} must be a text, not {type(row[key]).__name__}")
    for key in TURN_KEYS:
        if isinstance(row.get(key), list):
            return _conversation(row[key])
    known = ", ".join((*INSTRUCTION_KEYS, *TURN_KEYS))
    raise Unusable("unknown_shape", f"the row has none of the fields {known}")


def turns_of(turns: Iterable[Any]) -> list[tuple[str, str]]:
    """The (role, text) of a conversation's turns; bare texts are a person's."""
    found = []
    for turn in turns:
        if isinstance(turn, str):
            found.append((HUMAN[0], turn))
        elif isinstance(turn, dict):
            text = turn.get("content", turn.get("value"))
            if isinstance(text, str):
                found.append((str(turn.get("role") or turn.get("from") or "").lower(), text))
    return found


def with_texts(row: Any, change: Callable[[str], str]) -> Any:
    """The same row with each text that it says changed; other fields stay.

    >>> with_texts({"id": "a", "instruction": "b", "messages": [{"role": "user", "content": "c"}]}, str.upper)
    {'id': 'a', 'instruction': 'B', 'messages': [{'role': 'user', 'content': 'C'}]}
    """
    if isinstance(row, str):
        return change(row)
    if not isinstance(row, dict):
        return row
    changed = dict(row)
    for key, value in row.items():
        if key in TEXT_KEYS and isinstance(value, str):
            changed[key] = change(value)
        elif key in (*TURN_KEYS, "instances") and isinstance(value, list):
            changed[key] = [with_texts(part, change) for part in value]
    return changed


def id_of(row: Any, texts: Texts) -> str:
    """The name of a row: its own id, else that of its question."""
    own = row.get("id") if isinstance(row, dict) else None
    if isinstance(own, str | int) and own != "":
        return printable(str(own))
    return record_id(texts.instruction, texts.input)


def input_rejection(row: RawRow, problem: Unusable) -> Rejection:
    """The rejection of a row that says nothing; it quotes what could not be read at all."""
    raw = None if row.problem is None else printable(row.value)
    return Rejection(stage="input", rule=problem.rule, reason=printable(f"{row.place}: {problem}"), raw=raw)


def _conversation(turns: Iterable[Any]) -> Texts:
    said = [(role, text) for role, text in turns_of(turns) if role != "system"]
    output = None
    if said and said[-1][0] in ASSISTANT:
        output = said.pop()[1]
    return Texts("\n\n".join(text for _, text in said), "", output)


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of some fields that there is, as a text; None where there is none."""
    for key in keys:
        if key in row:
            value = row[key]
            if isinstance(value, str):
                return value
            return "" if value is None else json.dumps(value, ensure_ascii=False)
    return None
