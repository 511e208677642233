"""The settings of `evolgen respond`."""

from __future__ import annotations

from pydantic import Field

from evolgen.config import Inputs, Settings, WithAnswers


class RespondConfig(WithAnswers, Settings):
    """Answers to instructions and conversations: `evolgen respond`."""

    inputs: Inputs = Field(
        description="Prompts or conversations: JSONL, JSON, CSV or text files, also .gz; - is standard input."
    )
    samples: int = Field(default=1, ge=1, description="Answers to each prompt.")
    temperature: float = Field(default=0.7, ge=0, le=2, description="Of answers.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Of answers.")
    system: str | None = Field(
        default=None, min_length=1, description="A system message for prompts that have none of their own."
    )
