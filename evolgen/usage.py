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


ABSURD = 10**8
"""Tokens beyond which a count for one call is none."""


def read_usage(usage: object) -> Usage | None:
    """Read an endpoint's count; None where it gives none, or one that can't be.

    >>> read_usage({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}})
    Usage(prompt=9, cached=4, completion=2)
    >>> read_usage({"prompt_tokens": 5, "total_tokens": 5})
    Usage(prompt=5, cached=0, completion=0)
    >>> read_usage({"prompt_tokens": 10.0, "completion_tokens": "2"})
    Usage(prompt=10, cached=0, completion=2)
    >>> read_usage({"prompt_tokens": None, "completion_tokens": 3}), read_usage({"prompt_tokens": -1}), read_usage([])
    (None, None, None)
    """
    if not isinstance(usage, Mapping):
        return None
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    total = _count(usage.get("total_tokens"))
    if completion is None and prompt is not None and total is not None and "completion_tokens" not in usage:
        completion = total - prompt  # of embeddings there is no other count
    if prompt is None or completion is None or completion < 0:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    return Usage(prompt, min(cached or 0, prompt), completion)


def _count(value: object) -> int | None:
    """A count of tokens, also as a text or with a fraction of zero."""
    if type(value) is int:
        return value if 0 <= value <= ABSURD else None
    try:
        count = float(value) if isinstance(value, float | str) else -1.0
    except (ValueError, OverflowError):
        return None
    return int(count) if 0 <= count <= ABSURD and count.is_integer() else None
