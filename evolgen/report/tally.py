"""The numbers of a run, kept by watching its events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from evolgen.errors import OF_CONTENT
from evolgen.events import Asked, Committed, Event, Failed, Kept, Masked, Rejected, Replayed, Stored
from evolgen.records import Rejection
from evolgen.usage import Usage


@dataclass
class Tally:
    """The numbers of a run, kept by watching its events.

    Tokens are as the endpoint counts them; `cached_tokens` are those of the prompt that it had in its cache. `costs`
    are dollars by role; None where a price, or what one of its calls took, is unknown. `replayed_usd` is what answers
    from the store cost when they were paid.
    """

    requests: int = 0
    in_flight: int = 0
    failed_calls: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    replayed: int = 0
    oldest: float | None = None
    replayed_usd: float | None = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    candidates: int = 0
    accepted: int = 0
    parsed: int = 0
    unanswered: int = 0
    used: int = 0
    by_stage: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    costs: dict[str, float | None] = field(default_factory=dict)

    @property
    def cost(self) -> float | None:
        """Dollars in all; None where a part of it is unknown."""
        costs = list(self.costs.values())
        return None if None in costs else sum(cost for cost in costs if cost)

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
            case Stored(role=role, usage=usage, usd=usd, answers=answers):
                self.in_flight -= 1
                self.answers += answers
                self._count_tokens(role, usage, usd)
            case Replayed(created=created, usd=usd):
                self.replayed += 1
                self.replayed_usd = None if self.replayed_usd is None or usd is None else self.replayed_usd + usd
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

    def _count_tokens(self, role: str, usage: Usage | None, usd: float | None) -> None:
        before = self.costs.get(role, 0.0)
        self.costs[role] = None if before is None or usd is None else before + usd
        if usage is not None:
            self.prompt_tokens += usage.prompt
            self.completion_tokens += usage.completion
            self.cached_tokens += usage.cached

    def _count(self, rejection: Rejection | None) -> None:
        self.candidates += 1
        if rejection is None:
            self.accepted += 1
        else:
            self.by_stage[rejection.stage] += 1
            self.unanswered += rejection.stage == "backend" and rejection.rule not in OF_CONTENT
            self.by_rule[rejection.rule] += 1
