"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from evolgen.errors import UsageError
from evolgen.records import Texts

Part: TypeAlias = Literal["instruction", "context", "input", "output", "row", "task"]
"""What a rule is given: one text, or the row as `Texts`. The context is all that a row says besides (a system message,
a history, choices, worse answers), text by text. A Self-Instruct task of several instances is one row for each
of them, and `task` is the whole."""

REQUIRED = object()
"""The default of a setting that has none."""


@dataclass(frozen=True)
class Setting:
    """What can be set about a rule: a type for pydantic, the value where none is given, and how docs call it."""

    type: Any
    default: Any
    name: str

    def read(self, rule: str, value: Any) -> Any:
        """A value as given, `True` for the default; raises UsageError."""
        if value is True:
            if self.default is REQUIRED:
                raise UsageError(f"--rule {rule}: it needs a setting, as in {rule}={self.name}")
            return self.default
        try:
            return TypeAdapter(self.type).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"--rule {rule}={value}: {message}") from error


@dataclass(frozen=True)
class Rule:
    """A reason to reject a row.

    `check` gets each part that the rule looks at, one after the other, and the setting where there is one; it returns
    the reason or None. `about` says what is rejected, `source` where the rule is from, and `example` is a row that it
    rejects (with `example_setting`).
    """

    name: str
    parts: tuple[Part, ...]
    about: str
    source: str
    example: Texts
    check: Callable[..., str | None]
    setting: Setting | None = None
    example_setting: Any = True
