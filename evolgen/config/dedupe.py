"""The settings of `evolgen dedupe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from evolgen.config import INPUTS_HELP, KEPT_HELP, TOKENIZER_HELP, Against, Endpoint, Inputs, TokenizerName, values

DedupeMethod = Literal["exact", "minhash", "rouge-l", "semantic"]

Methods = Annotated[tuple[DedupeMethod, ...], BeforeValidator(values.names), Field(min_length=1)]
Thresholds = Annotated[dict[str, float], BeforeValidator(values.thresholds)]


class DedupeConfig(Endpoint):
    """Rows that say what other rows say: `evolgen dedupe`."""

    inputs: Inputs = Field(description=INPUTS_HELP)
    out: Path = Field(description=KEPT_HELP)
    method: Methods = Field(
        default=("exact", "rouge-l"),
        description="exact, minhash, rouge-l, semantic; several, with commas or repeated, run one after the other, the "
        "cheapest first. Default: exact,rouge-l.",
    )
    threshold: Thresholds = Field(
        default_factory=dict,
        description="A row above it is a duplicate, for all methods or by name: 0.8, or rouge-l=0.7,semantic=0.95. "
        "Default: 0.7, semantic 0.9.",
    )
    field: Literal["instruction", "input", "output", "all"] | None = Field(
        default=None, description="What is compared. Default: instruction and input."
    )
    tokenizer: TokenizerName = Field(default="unicode", description=TOKENIZER_HELP)
    against: Against = Field(
        default=(), description="Existing data that rows are compared with as well; it is not output (repeatable)."
    )
    keep: Literal["first", "longest"] = Field(default="first", description="Which of several duplicates stays.")
    ngram: int = Field(default=5, ge=1, le=50, description="minhash: words in an n-gram.")
    permutations: int = Field(default=128, ge=1, le=4096, description="minhash: hash functions.")
    bands: int | None = Field(
        default=None, ge=1, le=4096, description="minhash: bands of the LSH. Default: as the threshold calls for."
    )

    @model_validator(mode="after")
    def _bands_need_permutations(self) -> DedupeConfig:
        if self.bands is not None and self.bands > self.permutations:
            raise ValueError(f"bands: {self.bands} bands need as many --permutations at least, not {self.permutations}")
        return self
