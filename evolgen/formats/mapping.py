"""Fields that stand for known ones (`--map instruction=problem,output=solution.text`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def mapped(row: Any, names: Mapping[str, str]) -> Any:
    """The same row, with what was said to stand for a known field under its name.

    >>> mapped({"problem": "1 + 1", "solution": {"text": "2"}}, {"instruction": "problem", "output": "solution.text"})
    {'instruction': '1 + 1', 'output': '2'}
    """
    if not names or not isinstance(row, dict):
        return row
    taken = {path.partition(".")[0] for path in names.values()}
    rest = {key: value for key, value in row.items() if key not in taken and key not in names}
    return rest | {name: value for name, path in names.items() if (value := _at(row, path)) is not None}


def changed_at(row: Any, path: str, change: Callable[[Any], Any]) -> Any:
    """The same row with what lies at a path changed."""
    key, _, rest = path.partition(".")
    if not isinstance(row, dict) or key not in row:
        return row
    return row | {key: changed_at(row[key], rest, change) if rest else change(row[key])}


def _at(row: Any, path: str) -> Any:
    for key in path.split("."):
        row = row.get(key) if isinstance(row, dict) else None
    return row
