"""How files are read where their names and contents don't say it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_LINE = 64_000_000
"""Bytes of a line, or of a row in a JSON array, beyond which a file is not read on."""


@dataclass(frozen=True)
class Reading:
    """The encoding of files that are neither UTF-8 nor say what they are, the fields that stand for known ones, and the
    longest line in bytes.

    A field of `map` is a path: solution.text is `text` in the object `solution`.
    """

    encoding: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    max_line: int = MAX_LINE
