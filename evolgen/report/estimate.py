"""What a run would take, as a range: from the least that its templates and inputs call for to a plausible most."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Course(BaseModel):
    """One course that a run might take: calls and tokens by role, dollars (None where a price is unknown), seconds
    (None where batches take as long as they like).
    """

    model_config = ConfigDict(frozen=True)

    requests: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float | None


class Estimate(BaseModel):
    """A lucky course and an unlucky one; the truth should lie between them, if `assumed` holds."""

    model_config = ConfigDict(frozen=True)

    low: Course
    high: Course
    concurrency: int
    assumed: tuple[str, ...]
