"""What a store keeps: answers, what was paid for them, and batches that are under way."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

KEY = 32
"""Bytes of a key."""


class Stored(NamedTuple):
    """An answer as it was stored: canonical JSON, when (seconds since 1970), and what it cost (None: unknown)."""

    answer: str
    created: float
    usd: float | None = None


class Payment(NamedTuple):
    """What was paid for an answer: the tokens and dollars that a budget reckons with, None where nobody knows.

    `output` stands for the output that it was paid for, see `output_digest`.
    """

    output: str | None = None
    tokens: float | None = None
    usd: float | None = None


class Entry(NamedTuple):
    """An answer to be stored under its key; of a `damaged` one it takes the place, if that still stands there."""

    key: bytes
    answer: str
    paid: Payment = Payment()
    damaged: str | None = None


def output_digest(out: Path) -> str | None:
    """What stands for an output in the store; None for standard output, each of which is another.

    >>> output_digest(Path("/data/rows.jsonl")), output_digest(Path("-"))
    ('47ba6565a2547687', None)
    """
    return None if str(out) == "-" else hashlib.sha256(os.fsencode(out.absolute())).hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """Questions that were sent together, and whose answers will be there some hours later.

    `token` is ours and goes along with the batch, `id` is the endpoint's own, None until it is known. `keys` are those
    of the questions, `form` tells how they were put, `endpoint` has no secrets in it. Until `leased` whoever sends it
    is at work, and nobody else takes it up. Times are in seconds since 1970.
    """

    token: str
    id: str | None
    endpoint: str
    model: str
    form: str
    keys: tuple[bytes, ...]
    created: float
    leased: float = 0.0


class Answers(Protocol):
    """What the asking engine needs of a store."""

    def get(self, key: bytes) -> Stored | None:
        """The answer to a question, or None."""

    def put(self, group: Sequence[Entry]) -> list[Stored]:
        """Keep answers durably; returns what the store holds for each from now on."""

    def spent(self, output: str) -> tuple[float, float]:
        """The tokens and dollars that were paid for an output, in all runs."""


class Unkept:
    """The answers of one run, in memory and nowhere else: for a teacher that will not be known again."""

    def __init__(self) -> None:
        self._answers: dict[bytes, Stored] = {}

    def get(self, key: bytes) -> Stored | None:
        return self._answers.get(key)

    def put(self, group: Sequence[Entry]) -> list[Stored]:
        return [self._answers.setdefault(key, Stored(answer, time.time(), paid.usd)) for key, answer, paid, _ in group]

    def spent(self, output: str) -> tuple[float, float]:
        return 0.0, 0.0

    def batches(self) -> list[Batch]:
        return []

    def close(self) -> None:
        self._answers.clear()
