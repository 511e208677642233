"""How much a run may spend: each call reserves what it may take at the most, and gives back what it did not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from evolgen.asking import Request, Role
from evolgen.errors import GO_ON, BudgetReached
from evolgen.prices import Price
from evolgen.usage import Usage

LONGEST_ANSWER = 2048
"""Tokens that are reserved for an answer where a question doesn't limit it."""

BYTES = 3
"""UTF-8 bytes of a prompt that are reserved as a token: less than there are in one, in nearly all texts."""

PER_MESSAGE = 8
"""Tokens that a chat template adds to a message, at the most."""


@dataclass(frozen=True)
class Reservation:
    """Tokens and dollars that a call may take at the most; so much `beyond` what its question says, as others took."""

    tokens: float
    usd: float
    beyond: tuple[float, float] = (0.0, 0.0)

    def __add__(self, other: Reservation) -> Reservation:
        return Reservation(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Reservation) -> Reservation:
        return Reservation(self.tokens - other.tokens, self.usd - other.usd)


NOTHING = Reservation(0.0, 0.0)


class Spent(NamedTuple):
    """What a call took: the endpoint's count, or where it gives none that can be, what was reserved.

    `usage` is that count, `usd` is None where the price is unknown.
    """

    usage: Usage | None
    tokens: float
    usd: float | None


@dataclass(frozen=True)
class Spending:
    """The limits of a run, each None where there is none, and the price of the model of each role where it is known."""

    max_requests: int | None = None
    max_total_tokens: int | None = None
    max_usd: float | None = None
    prices: Mapping[Role, Price | None] | None = None

    def price(self, role: Role) -> Price | None:
        return (self.prices or {}).get(role)


class Budget:
    """What is spent, and what the calls in flight may still take.

    Tokens and dollars are those of the output over all runs: `before` is what earlier ones spent on it.
    """

    def __init__(self, limits: Spending, before: tuple[float, float] = (0.0, 0.0)) -> None:
        self._limits = limits
        self._requests = 0
        self._tokens, self._usd = before
        self._beyond: defaultdict[Role, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        self._reserved: dict[int, Reservation] = {}
        self._in_flight = NOTHING
        self._numbers = 0
        self._changed = asyncio.Event()
        self._closed = False

    def reservation(self, role: Role, request: Request) -> Reservation:
        """What a question may take."""
        messages = [text for _, text in request.messages] or [request.prompt or ""]
        prompt = sum(len(text.encode("utf-8", "replace")) / BYTES + PER_MESSAGE for text in messages)
        return self.reserving(role, prompt, request.max_tokens or LONGEST_ANSWER)

    def reserving(self, role: Role, prompt: float, answer: float) -> Reservation:
        """So many tokens of a prompt and its answer, and what answers in this role took beyond that, at the most."""
        price = self._limits.price(role)
        usd = 0.0 if price is None else price.of(prompt, 0, answer)
        beyond = self._beyond[role]
        return Reservation(prompt + answer + beyond[0], usd + beyond[1], beyond)

    async def take(self, wanted: Reservation) -> int:
        """Wait until a call fits beside those in flight; returns its number.

        Raises BudgetReached if it fits no more, or after `close`.
        """
        limits = self._limits
        if limits.max_requests is not None and self._requests >= limits.max_requests:
            raise BudgetReached(f"--max-requests {limits.max_requests}: all of them are spent; {GO_ON}")
        while self._closed or (problem := self._problem(wanted)) is not None:
            if self._closed or not self._reserved:
                raise BudgetReached("the run is stopping" if self._closed else problem or "")
            self._changed.clear()
            await self._changed.wait()
        self._numbers += 1
        self._requests += 1
        self._reserved[self._numbers] = wanted
        self._in_flight += wanted
        return self._numbers

    def settle(self, number: int, role: Role, usage: Usage | None) -> Spent:
        """A call is answered: where the endpoint doesn't say what it took, it took what was reserved."""
        reserved = self._release(number)
        cost = self.cost(role, usage)
        if usage is not None and reserved.tokens:  # some bill more than a question allows
            tokens, usd = self._beyond[role]
            more_tokens = usage.total - (reserved.tokens - reserved.beyond[0])
            more_usd = (cost or 0.0) - (reserved.usd - reserved.beyond[1])
            self._beyond[role] = max(tokens, more_tokens), max(usd, more_usd)
        if cost is None and self._limits.price(role) is not None:
            cost = reserved.usd
        spent = Spent(usage, reserved.tokens if usage is None else usage.total, cost)
        self._tokens += spent.tokens
        self._usd += spent.usd or 0.0
        return spent

    def cost(self, role: Role, usage: Usage | None) -> float | None:
        """Dollars for what a call took; None where that or its price is unknown."""
        price = self._limits.price(role)
        return None if usage is None or price is None else price.of(*usage)

    def give_back(self, number: int) -> None:
        """A call failed: it took nothing."""
        if number in self._reserved:
            self._release(number)

    def close(self) -> None:
        """The run is stopping: nobody waits any longer."""
        self._closed = True
        self._changed.set()

    def _release(self, number: int) -> Reservation:
        """A call is in flight no more: what it had reserved is free."""
        reserved = self._reserved.pop(number)
        self._in_flight = self._in_flight - reserved if self._reserved else NOTHING  # so that no rounding adds up
        self._changed.set()
        return reserved

    def _problem(self, wanted: Reservation) -> str | None:
        limits, reserved = self._limits, self._in_flight + wanted
        most = limits.max_total_tokens
        if most is not None and self._tokens + reserved.tokens > most:
            spent, of, more = f"{self._tokens:,.0f}", f"{most:,}", f"a call may take {wanted.tokens:,.0f}"
            return _reached("--max-total-tokens", spent, of, more)
        if limits.max_usd is not None and self._usd + reserved.usd > limits.max_usd:
            spent, of, more = f"${self._usd:.4f}", f"${limits.max_usd:g}", f"a call may cost ${wanted.usd:.4f}"
            return _reached("--max-usd", spent, of, more)
        return None


def _reached(flag: str, spent: str, of: str, more: str) -> str:
    return f"spent for this output in all runs: {spent} of {of}, and {more}; raise {flag} to go on"
