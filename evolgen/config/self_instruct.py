"""The settings of `evolgen self-instruct`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from evolgen.config import (
    TOKENIZER_HELP,
    Against,
    Inputs,
    Names,
    Settings,
    TokenizerName,
    WithAnswers,
    WithJudge,
    WithSeed,
    WithTemplates,
)


class SelfInstructConfig(WithAnswers, WithJudge, WithTemplates, WithSeed, Settings):
    """New tasks from a few: `evolgen self-instruct`."""

    seeds: Inputs = Field(description="Seed tasks: JSONL, JSON, CSV or text files, also .gz; - is standard input.")
    n: int = Field(ge=1, description="Go on until exactly this many rows are accepted.")
    style: Literal["self-instruct", "alpaca"] = Field(
        default="self-instruct",
        description="self-instruct: four stages, with instances of each new task. alpaca: many tasks in one call.",
    )
    against: Against = Field(
        default=(), description="Existing data whose instructions new ones must differ from as well (repeatable)."
    )
    threshold: float = Field(
        default=0.7, gt=0, lt=1, description="A new instruction whose ROUGE-L to a known one is above it is rejected."
    )
    tokenizer: TokenizerName = Field(default="unicode", description=TOKENIZER_HELP)
    no_rule: Names = Field(default_factory=tuple, description="Leave a rule of the style out (repeatable).")
    lag: int = Field(
        default=512, ge=1, description="How many requests before it a request sees the pool; it decides what is asked."
    )
    completion: bool = Field(
        default=False, description="The model has no chat tuning: ask it to go on with few-shot texts."
    )

    @classmethod
    def unused(cls, settings: Mapping[str, Any]) -> Mapping[str, str]:
        """Alpaca's one question a request leaves nothing to answer, to judge or to wait for."""
        unused = super().unused(settings)
        if settings.get("style") != "alpaca":
            return unused
        why = "the style alpaca asks for whole tasks in one call"
        return {**unused, "answer_model": why, "judge_model": why, "lag": "the style alpaca shows seeds only"}
