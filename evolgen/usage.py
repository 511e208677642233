"""What an endpoint says a call took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Usage(NamedTuple):
    """Tokens of a call; `cached` are those of the prompt that the endpoint had in its cache."""

    prompt: int
    cached: int
    completion: int

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def plus(self, other: Usage) -> Usage:
        """What two calls took."""
        return Usage(*map(sum, zip(self, other, strict=True)))


def read_usage(usage: object) -> Usage | None:
    """Read an endpoint's count; None where it gives none. What isn't a count is 0: a statistic must not end a run.

    >>> read_usage({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}})
    Usage(prompt=9, cached=4, completion=2)
    >>> read_usage({"prompt_tokens": "many", "total_tokens": 3}), read_usage(None), read_usage({})
    (Usage(prompt=0, cached=0, completion=0), None, None)
    """
    if not isinstance(usage, Mapping) or "prompt_tokens" not in usage:
        return None
    details = usage.get("prompt_tokens_details")
    prompt = _count(usage.get("prompt_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    return Usage(prompt, min(cached, prompt), _count(usage.get("completion_tokens")))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
