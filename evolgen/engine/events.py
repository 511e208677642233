"""What happens in a run, told to one observer as it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from evolgen.asking import Role
from evolgen.errors import EvolgenError, TeacherError
from evolgen.prices import Prices
from evolgen.records import Record, Rejection
from evolgen.usage import Usage


@dataclass(frozen=True, slots=True)
class Planned:
    """The run begins: it is to give `rows` accepted rows, or (without a target) `candidates` candidates.

    `prices` are those of the models that it asks.
    """

    candidates: int
    rows: int | None
    prices: Prices | None = None


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
    """A call's answer, by a model, is in the store; `usage` is the endpoint's count of tokens, if it gives one.

    `answers` is how many questions it answers: one call asks for the embeddings of many texts.
    """

    role: Role
    model: str
    usage: Usage | None
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
    """The run will end early; calls in flight finish first if it `waits`."""

    reason: EvolgenError
    waits: bool = True


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

    Tokens are as the endpoint counts them; `cached_tokens` are those of the prompt that it had in its cache. `paid` are
    those of each (role, model), and `uncounted` those (role, model) of whose answers some came without a count.
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
    paid: dict[tuple[str, str], Usage] = field(default_factory=dict)
    uncounted: set[tuple[str, str]] = field(default_factory=set)

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
            case Stored(role=role, model=model, usage=usage, answers=answers):
                self.in_flight -= 1
                self.answers += answers
                self._count_tokens(role, model, usage)
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

    def cost(self, prices: Prices) -> dict[str, float | None]:
        """Dollars by role; None where a model's price, or what a call took, is unknown."""
        costs: dict[str, float | None] = {}
        for (role, model), usage in self.paid.items():
            price = prices.of(model)
            known = price is not None and (role, model) not in self.uncounted
            before = costs.get(role, 0.0)
            costs[role] = before + price.of(*usage) if price and known and before is not None else None
        return costs

    def _count_tokens(self, role: str, model: str, usage: Usage | None) -> None:
        self.paid.setdefault((role, model), Usage(0, 0, 0))
        if usage is None:
            self.uncounted.add((role, model))
            return
        self.paid[role, model] = self.paid[role, model].plus(usage)
        self.prompt_tokens += usage.prompt
        self.completion_tokens += usage.completion
        self.cached_tokens += usage.cached

    def _count(self, rejection: Rejection | None) -> None:
        self.candidates += 1
        if rejection is None:
            self.accepted += 1
        else:
            self.by_stage[rejection.stage] += 1
            self.by_rule[rejection.rule] += 1
