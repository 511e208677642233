"""Rows of any known shape -> the texts that rules are tried on and near rows are told by, and changing them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from evolgen.formats.shapes import (
    CHOSEN_KEYS,
    CONTENT_KEYS,
    HISTORY,
    REJECTED_KEYS,
    TEXT_KEYS,
    TURN_KEYS,
    Row,
    plain,
    read_row,
)
from evolgen.records import Texts, printable, record_id

CONVERSATION_KEYS = frozenset((*TURN_KEYS, *CHOSEN_KEYS, *REJECTED_KEYS, HISTORY, "prompt"))
"""The fields in which turns may stand."""

TURN_TEXTS = frozenset((*CONTENT_KEYS, "thinking", "reasoning_content", "tool_calls", "function_call"))
"""The fields of a turn that say something; the others tell who speaks."""

NO_TEXT = ("type", "image_url", "image", "url", "role", "from")
"""Fields under a text that are none."""


def texts_of(value: Any) -> Texts:
    """What a row in any known shape says, as it stands; raises Unusable.

    Of a conversation the last answer is the output and what was said before it, by whom else, is the instruction. What
    else belongs to the question (a system message, a history, choices, images) is its `context`.

    >>> texts_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})[:3]
    ('Hi', '', 'Ho')
    """
    if (single := plain(value)) is not None:
        return Texts(*single)
    row = read_row(value)
    if row.turns is None:
        return Texts(row.instruction, row.input, row.output, row.more, _context(row), row.refused)
    said = "\n\n".join(turn.text for turn in row.turns if turn.role != "system" and turn.text is not None)
    asked = any(turn.role == "user" and turn.text and turn.text.strip() for turn in row.turns)
    return Texts(said, "", row.output, (), _context(row), row.refused, asked)


def _context(row: Row) -> tuple[str, ...]:
    before = row.before if row.turns is None else tuple(turn for turn in row.turns if turn.role == "system")
    return (*(turn.text for turn in before if turn.text), *row.beside)


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
        name = key.lower() if isinstance(key, str) else ""
        if name in CONVERSATION_KEYS:
            changed[key] = _changed_turns(value, change)
        elif name in TEXT_KEYS:
            changed[key] = _changed(value, change)
    return changed


def _changed_turns(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_changed_turns(each, change) for each in value]
    if isinstance(value, dict) and ("role" in value or "from" in value):
        return {key: _changed(each, change) if key in TURN_TEXTS else each for key, each in value.items()}
    return _changed(value, change)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    if not isinstance(value, dict):
        return value
    is_part = isinstance(value.get("type"), str)
    return {key: each if is_part and key in NO_TEXT else _changed(each, change) for key, each in value.items()}


def id_of(row: Any, texts: Texts) -> str:
    """The name of a row: its own id, else that of its question, with all that belongs to it."""
    own = row.get("id") if isinstance(row, dict) else None
    if isinstance(own, str | int) and own != "":
        return printable(str(own))
    if not texts.context:
        return record_id(texts.instruction, texts.input)
    question = {"instruction": texts.instruction, "input": texts.input, "context": texts.context}
    canonical = json.dumps(question, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
