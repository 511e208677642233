"""Rows of any known shape -> the texts that rules are tried on and near rows are told by, and changing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evolgen.formats.shapes import ASSISTANT, TEXT_KEYS, TURN_KEYS, Spoken, read_row
from evolgen.records import Texts, printable, record_id


def texts_of(value: Any) -> Texts:
    """What a row in any known shape says, as it stands; raises Unusable.

    Of a conversation the last answer is the output and the turns before it, without the system's, are the instruction.

    >>> texts_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})
    Texts(instruction='Hi', input='', output='Ho', more=())
    """
    row = read_row(value)
    return Texts(*row[:4]) if row.turns is None else _conversation(row.turns)


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


def _conversation(turns: Iterable[Spoken]) -> Texts:
    said = [(role, text) for role, text in turns if role != "system" and text is not None]
    output = None
    if said and said[-1][0] in ASSISTANT:
        output = said.pop()[1]
    return Texts("\n\n".join(text for _, text in said), "", output)
