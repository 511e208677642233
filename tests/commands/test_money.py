"""What a run costs, and that it stops before it costs more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.backends import Limits
from evolgen.backends import Teacher as Way
from evolgen.commands.asking import prices_of
from evolgen.config.respond import RespondConfig
from evolgen.report.summary import Summary
from tests.conftest import rows
from tests.teacher import Teacher

PROMPTS: Any = [{"instruction": f"Describe thing number {number}. {'Be brief. ' * 28}"} for number in range(60)]
EACH = (100 * 0.15 + 20 * 0.60) / 1e6
"""Dollars for one answer of the loopback teacher: 100 and 20 tokens, at the shipped price of gpt-4o-mini."""


def respond(teacher: Teacher, **more: Any) -> Summary:
    settings: dict[str, Any] = {"inputs": PROMPTS, "out": "out.jsonl", "model": "gpt-4o-mini", "base_url": teacher.url}
    return evolgen.respond(**(settings | more))


def test_cost_is_told_by_role_and_by_row(teacher: Teacher) -> None:
    summary = evolgen.evolve(
        seeds=PROMPTS[:5], out="out.jsonl", model="gpt-4o-mini-2024-07-18", base_url=teacher.url, rounds=1
    )
    assert summary.cost_usd == pytest.approx(15 * EACH)
    assert summary.costs_usd == pytest.approx(dict.fromkeys(("evolve", "judge", "answer"), 5 * EACH))
    assert summary.cost_per_row_usd == pytest.approx(3 * EACH)
    manifest = json.loads(Path("out.manifest.json").read_text())
    assert manifest["cost_usd"] == summary.cost_usd
    assert manifest["prices"]["prices.toml"].startswith("20")
    again = evolgen.evolve(
        seeds=PROMPTS[:5], out="out.jsonl", model="gpt-4o-mini-2024-07-18", base_url=teacher.url, rounds=1
    )
    assert again.cost_usd == 0.0, "what is replayed is not paid again"


def test_an_unknown_model_costs_unknown_and_never_nothing(teacher: Teacher) -> None:
    assert respond(teacher, model="my-model").cost_usd is None
    Path("prices.toml").write_text('[models."my-model"]\ninput = 1\noutput = 2\n')
    priced = respond(teacher, model="my-model", prices="prices.toml", store="other.sqlite")
    assert priced.cost_usd == pytest.approx(60 * (100 * 1 + 20 * 2) / 1e6)
    assert evolgen.respond(inputs=PROMPTS, out="out.jsonl", script=lambda request: "Fine.").cost_usd is None, (
        "uncounted"
    )


@pytest.mark.parametrize(
    ("limit", "most"),
    [({"max_usd": 12.5 * EACH}, 12), ({"max_total_tokens": 1500}, 12), ({"max_requests": 12}, 12)],
)
def test_a_budget_stops_the_run_before_it_is_passed(teacher: Teacher, limit: dict[str, Any], most: int) -> None:
    summary = respond(teacher, **limit, max_tokens=25)
    assert not summary.complete
    assert summary.published
    assert summary.stopped is not None
    assert next(iter(limit)).replace("_", "-") in summary.stopped
    assert most - 3 <= len(teacher.calls) == summary.accepted == len(rows(Path("out.jsonl"))) <= most
    assert respond(teacher, max_tokens=25).accepted == 60
    assert len(teacher.calls) == 60


def test_the_budget_of_a_chain_is_shared_by_its_stages(teacher: Teacher) -> None:
    Path("seeds.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in PROMPTS[:10]))
    top = f'out = "all.jsonl"\nmodel = "gpt-4o-mini"\nbase_url = "{teacher.url}"\nmax_tokens = 25\n'
    stages = '[respond]\ninputs = "seeds.jsonl"\n[evolve]\nrounds = 1\n[filter]\npreset = ["evol-instruct"]\n'
    Path("recipe.toml").write_text(f"{top}max_usd = {40.5 * EACH}\n{stages}")
    summary = evolgen.run("recipe.toml")
    assert summary.complete
    assert summary.cost_usd == pytest.approx(40 * EACH)
    assert summary.costs_usd == pytest.approx({"1-respond": 10 * EACH, "2-evol-instruct": 30 * EACH})
    Path("recipe.toml").write_text(Path("recipe.toml").read_text().replace("rounds = 1", "rounds = 2"))
    stopped = evolgen.run("recipe.toml")
    assert stopped.requests == 0
    assert "spent for this output in all runs: $" in str(stopped.stopped)
    Path("recipe.toml").write_text(Path("recipe.toml").read_text().replace(f"max_usd = {40.5 * EACH}", "max_usd = 1"))
    assert evolgen.run("recipe.toml").stopped is None, "raised, it goes on"
    Path("recipe.toml").write_text(Path("recipe.toml").read_text().replace("max_usd = 1", f"max_usd = {40.5 * EACH}"))
    Path("recipe.toml").write_text(Path("recipe.toml").read_text().replace('out = "all', 'store = "s"\nout = "all'))
    assert not evolgen.run("recipe.toml").complete


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("models = 1", "it must hold tables"),
        ('[models."m"]\ninput = -1\noutput = 1', "input: Input should be greater"),
        ('[models."m"]\ninput = 1', "output: Field required"),
        ('[models."m"]\ninput = 1\noutput = 1\ncached = 1', "cached: Extra inputs"),
        ("[models", "not TOML"),
        ("[prices]", "it must hold tables"),
    ],
)
def test_a_wrong_table_of_prices_is_one_sentence(teacher: Teacher, table: str, problem: str) -> None:
    Path("prices.toml").write_text(table)
    with pytest.raises(evolgen.EvolgenError, match=r"--prices prices.toml: .*") as failure:
        respond(teacher, prices="prices.toml")
    assert problem in str(failure.value)
    with pytest.raises(evolgen.EvolgenError, match="it can't be read"):
        respond(teacher, prices="gone.toml")


def test_who_is_not_said_to_be_free_costs_money() -> None:
    """A way to a teacher that nobody has thought of yet: `--max-usd` must know its price."""
    unknown = Way("m", "m", {"model": "m"}, (), Limits(1))
    config = RespondConfig(inputs=PROMPTS, out=Path("o.jsonl"), max_usd=1.0)
    with pytest.raises(evolgen.EvolgenError, match="the price of m is unknown"):
        prices_of(config, {"answer": unknown})
    assert prices_of(config, {"answer": replace(unknown, free=True)}).of("m") is not None


def test_a_limit_in_dollars_needs_a_price(teacher: Teacher) -> None:
    with pytest.raises(evolgen.EvolgenError, match="--max-usd: the price of m is unknown; give it with --prices FILE"):
        respond(teacher, model="m", max_usd=1)
    assert not teacher.calls
