"""Budgets are never passed, counting what is in flight."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evolgen.asking import Request
from evolgen.engine.budget import Budget, Spending
from evolgen.errors import BudgetReached
from evolgen.prices import Price
from evolgen.usage import Usage

pytestmark = pytest.mark.anyio

PRICE = Price(input=1.0, output=10.0)


def question(text: str = "x" * 300, max_tokens: int | None = 100) -> Request:
    return Request("answer", (("user", text),), max_tokens=max_tokens)


async def test_a_call_reserves_its_prompt_and_its_longest_answer() -> None:
    budget = Budget(Spending(max_usd=1.0, prices={"answer": PRICE}))
    wanted = budget.reservation("answer", question())
    assert wanted.tokens == pytest.approx(100 + 8 + 100)
    assert wanted.usd == pytest.approx((108 * 1.0 + 100 * 10.0) / 1e6)
    assert budget.reservation("answer", question(max_tokens=None)).tokens > 2048
    assert budget.reservation("answer", question("写" * 100)).tokens == pytest.approx(208), "a token a character"


async def test_the_next_call_waits_until_those_in_flight_say_what_they_took() -> None:
    budget = Budget(Spending(max_total_tokens=450))
    wanted = budget.reservation("answer", question())
    first, second = await budget.take(wanted), await budget.take(wanted)
    third = asyncio.ensure_future(budget.take(wanted))
    await asyncio.sleep(0)
    assert not third.done()
    budget.settle(first, "answer", Usage(20, 0, 10))
    number = await asyncio.wait_for(third, 30)
    budget.give_back(number)
    budget.settle(second, "answer", None)
    with pytest.raises(
        BudgetReached, match=r"all runs: 238 of 450, and a call may take 1,008; raise --max-total-tokens"
    ):
        await budget.take(budget.reservation("answer", question(max_tokens=900)))


async def test_dollars_are_counted_by_the_price_of_the_role() -> None:
    budget = Budget(Spending(max_usd=0.002, prices={"answer": PRICE, "judge": None}))
    wanted = budget.reservation("answer", question())
    budget.settle(await budget.take(wanted), "answer", Usage(100, 0, 90))
    with pytest.raises(
        BudgetReached, match=r"all runs: \$0.0010 of \$0.002, and a call may cost \$0.0011; raise --max-usd"
    ):
        await budget.take(wanted)
    await budget.take(budget.reservation("judge", question()))


async def test_requests_are_counted_as_they_go_out_and_failed_ones_too() -> None:
    budget = Budget(Spending(max_requests=2))
    wanted = budget.reservation("answer", question())
    budget.give_back(await budget.take(wanted))
    await budget.take(wanted)
    with pytest.raises(BudgetReached, match="--max-requests 2"):
        await budget.take(wanted)


async def test_nobody_waits_after_the_run_has_stopped() -> None:
    budget = Budget(Spending(max_total_tokens=250))
    wanted = budget.reservation("answer", question())
    await budget.take(wanted)
    waiting: list[Any] = [asyncio.ensure_future(budget.take(wanted)) for _ in range(3)]
    await asyncio.sleep(0)
    budget.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert [type(outcome) for outcome in outcomes] == [BudgetReached] * 3
