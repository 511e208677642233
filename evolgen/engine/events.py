"""What happens in a run, told to one observer as it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from evolgen.asking import Role
from evolgen.errors import EvolgenError, TeacherError
from evolgen.records import Record, Rejection


@dataclass(frozen=True, slots=True)
class Planned:
    """The run begins: it is to give `rows` accepted rows, or (without a target) `candidates` candidates."""

    candidates: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A call goes out to a teacher; `attempt` counts from 1."""

    role: Role
    attempt: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A call failed; it is made again unless `final`."""

    role: Role
    error: TeacherError
    final: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A call's answer is in the store; `usage` is the endpoint's count of tokens.

    `answers` is how many questions it answers: one call asks for the embeddings of many texts.
    """

    role: Role
    usage: Mapping[str, Any]
    answers: int = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """An answer came from the store, where it has been since `created` (seconds since 1970)."""

    role: Role
    created: float


@dataclass(frozen=True, slots=True)
class Committed:
    """A row has its place in the output, accepted or rejected.

    `answers` is how many answers it needed beyond those that it shares with the row before it in its lineage.
    """

    row: Record
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """So many more rows of the input are kept as they came."""

    rows: int


@dataclass(frozen=True, slots=True)
class Masked:
    """In a row that is kept something was masked."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of the input is rejected."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Working:
    """How far a step has come: `done` of `total` rows, where the total is known. Told now and then, not for each."""

    doing: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The run will end early; calls in flight finish first."""

    reason: EvolgenError


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Fetching:
    """A local model is being fetched; `done` and `total` are bytes."""

    name: str
    done: int
    total: int


Event: TypeAlias = (
    Planned
    | Asked
    | Failed
    | Stored
    | Replayed
    | Committed
    | Kept
    | Masked
    | Rejected
    | Working
    | StopRequested
    | Notice
    | Fetching
)
Observer: TypeAlias = Callable[[Event], None]


@dataclass
class Tally:
    """The numbers of a run, kept by watching its events.

    Tokens are as the endpoint counts them; `cached_tokens` are those of the prompt that it had in its cache.
    """

    requests: int = 0
    in_flight: int = 0
    failed_calls: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    replayed: int = 0
    oldest: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    candidates: int = 0
    accepted: int = 0
    parsed: int = 0
    used: int = 0
    by_stage: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        return self.candidates - self.accepted

    def __call__(self, event: Event) -> None:
        match event:
            case Asked():
                self.requests += 1
                self.in_flight += 1
            case Failed(error=error):
                self.in_flight -= 1
                self.failed_calls[error.rule] += 1
            case Stored(usage=usage, answers=answers):
                self.in_flight -= 1
                self.answers += answers
                self._count_tokens(usage)
            case Replayed(created=created):
                self.replayed += 1
                self.oldest = created if self.oldest is None else min(self.oldest, created)
            case Committed(row=row, answers=answers):
                self.used += answers
                self.notes.update(row.notes)
                self.parsed += bool(row.instruction)
                self._count(row.rejection)
            case Kept(rows=rows):
                self.candidates += rows
                self.accepted += rows
                self.parsed += rows
            case Masked():
                self.notes["masked"] += 1
            case Rejected(rejection=rejection):
                self.parsed += rejection.stage != "input"
                self._count(rejection)

    def _count_tokens(self, usage: Mapping[str, Any]) -> None:
        details = usage.get("prompt_tokens_details")
        self.prompt_tokens += _number(usage, "prompt_tokens")
        self.completion_tokens += _number(usage, "completion_tokens")
        self.cached_tokens += _number(details, "cached_tokens") if isinstance(details, Mapping) else 0

    def _count(self, rejection: Rejection | None) -> None:
        self.candidates += 1
        if rejection is None:
            self.accepted += 1
        else:
            self.by_stage[rejection.stage] += 1
            self.by_rule[rejection.rule] += 1


def _number(usage: Mapping[str, Any], name: str) -> int:
    """An endpoint's count; whatever isn't a count is 0, for a statistic must not end a run."""
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
