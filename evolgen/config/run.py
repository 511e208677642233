"""The settings of `evolgen run`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class RunConfig(BaseModel):
    """A recipe: what it sets is said by the commands that it names."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    recipe: Path = Field(description="A TOML file: a table of settings, such as [evolve], or several.")
