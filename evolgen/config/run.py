"""The settings of `evolgen run`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _settings(value: Any) -> Any:
    """Read settings: ["rounds=2", "evolve.keep=last"], or a table; what is no TOML value is a text.

    >>> _settings(["rounds=2", "model=gpt-4"])
    {'rounds': 2, 'model': 'gpt-4'}
    """
    if not isinstance(value, list | tuple):
        return value
    pairs = [str(text).partition("=") for text in value]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ValueError("a setting is set as in rounds=2, or evolve.rounds=2 for one command of several")
    return {name.strip(): _toml(text.strip()) for name, _, text in pairs}


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class RunConfig(BaseModel):
    """A recipe, and what goes before its own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    recipe: Path = Field(description="A TOML file: a table of settings, such as [evolve], or several.")
    out: Path | None = Field(default=None, description="Where the rows go, whatever the recipe says.")
    n: int | None = Field(default=None, ge=1, description="How many rows, for the commands that take it.")
    model: str | None = Field(default=None, min_length=1, description="The model, for the commands that ask one.")
    offline: bool = Field(default=False, description="Ask nothing: every answer must be in the store.")
    set: Annotated[dict[str, Any], BeforeValidator(_settings)] = Field(
        default_factory=dict,
        description="Another setting, before the recipe's: rounds=2, or evolve.rounds=2 for one command of several "
        "(repeatable).",
    )

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that go before the recipe's, by name; with a dot, of one command."""
        given = {"out": self.out, "n": self.n, "model": self.model, "offline": self.offline or None}
        named = {name: str(value) if name == "out" else value for name, value in given.items() if value is not None}
        return named | self.set
