"""The settings of `evolgen evolve`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evolgen.config import EliminationRule, Inputs, Settings, Weights, WithAnswers, WithJudge, WithSeed, WithTemplates


class EvolveConfig(WithAnswers, WithJudge, WithTemplates, WithSeed, Settings):
    """Evol-Instruct: `evolgen evolve`."""

    seeds: Inputs = Field(
        description="Seed instructions: JSONL, JSON, CSV or text files, also .gz; - is standard input."
    )
    n: int | None = Field(default=None, ge=1, description="Stop at exactly this many accepted rows.")
    rounds: int = Field(default=4, ge=1, description="Evolutions per lineage.")
    operators: Weights | None = Field(
        default=None,
        description="Operators to draw from, with weights if you like: deepen,breadth=0.5. Default: all six.",
    )
    keep: Literal["all", "last"] = Field(
        default="all", description="Keep the rows of all rounds, or each lineage's last."
    )
    include_seeds: bool = Field(default=False, description="Answer the seeds themselves too and keep them.")
    temperature: float = Field(default=1.0, ge=0, le=2, description="Of evolutions and answers.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="Of evolutions and answers.")
    no_rule: list[EliminationRule] = Field(
        default_factory=list, description="Switch an elimination rule off (repeatable)."
    )
