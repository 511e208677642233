"""The settings of `evolgen decontaminate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from evolgen.config import INPUTS_HELP, KEPT_HELP, Against, Config, Inputs


class DecontaminateConfig(Config):
    """Rows that hold items of a benchmark: `evolgen decontaminate`."""

    inputs: Inputs = Field(description=INPUTS_HELP)
    out: Path = Field(description=KEPT_HELP)
    against: Against = Field(min_length=1, description="Benchmarks, whose items no row may hold (repeatable).")
    field: Literal["instruction", "input", "output", "all"] = Field(
        default="all", description="What of a row is looked at."
    )
    ngram: int = Field(default=8, ge=1, le=50, description="Tokens in an n-gram that covers a part of an item.")
    coverage: float = Field(
        default=0.5, ge=0, lt=1, description="A row that covers more than this share of an item's tokens is rejected."
    )
    exact_ngram: int = Field(
        default=13, ge=1, le=100, description="A row that shares a run of so many tokens with an item is rejected."
    )
