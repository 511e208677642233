"""What a run would take, told without asking anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import evolgen
from evolgen.report.estimate import Course, Estimate
from tests import program
from tests.conftest import ROOT
from tests.teacher import Body, Teacher, completion, digest, kind, refusal, sensible

SEEDS: Any = [{"instruction": f"Explain thing {n} in some detail.", "output": f"It is {n}."} for n in range(120)]

RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "evolve": (evolgen.evolve, {"seeds": SEEDS, "rounds": 2}),
    "evolve for n rows": (evolgen.evolve, {"seeds": SEEDS, "n": 300, "rounds": 3}),
    "self-instruct": (evolgen.self_instruct, {"seeds": SEEDS, "n": 400}),
    "alpaca": (evolgen.self_instruct, {"seeds": SEEDS, "n": 400, "style": "alpaca"}),
    "respond": (evolgen.respond, {"inputs": SEEDS, "samples": 2}),
}


def estimated(call: Any, **settings: Any) -> Estimate:
    told = call(out="out.jsonl", model="gpt-4o-mini", estimate=True, **settings).estimate
    assert isinstance(told, Estimate)
    return told


def total(course: Course) -> int:
    return sum(course.requests.values())


@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_a_good_teacher_takes_what_was_estimated(name: str, teacher: Teacher) -> None:
    call, settings = RUNS[name]
    told = estimated(call, base_url=teacher.url, **settings)
    assert not teacher.calls
    assert not list(Path().iterdir())
    real = call(out="out.jsonl", model="gpt-4o-mini", base_url=teacher.url, **settings)
    assert 0.9 * total(told.low) <= real.requests - real.surplus <= 1.1 * total(told.high)
    sent = sum(len(message["content"]) for body in teacher.calls for message in body["messages"]) / 4
    assert 0.8 * told.low.prompt_tokens <= sent <= 1.2 * told.high.prompt_tokens
    assert told.low.cost_usd is not None
    assert told.high.cost_usd is not None
    assert 0 < told.low.cost_usd < told.high.cost_usd
    assert told.low.seconds is not None
    assert told.high.seconds is not None
    assert 0 < told.low.seconds < told.high.seconds
    assert set(told.low.requests) == set(told.high.requests)


@pytest.mark.parametrize("style", ["self-instruct", "alpaca"])
def test_a_base_models_prompts_are_estimated_too(style: str) -> None:
    told = estimated(evolgen.self_instruct, seeds=SEEDS, n=100, style=style, completion=True, base_url="http://x/v1")
    assert 5 <= total(told.low) <= total(told.high) <= 500


def test_limits_by_the_minute_and_unknown_prices_count() -> None:
    settings: Any = {"inputs": SEEDS, "out": "o.jsonl", "base_url": "http://x/v1", "estimate": True, "model": "mine"}
    told = evolgen.respond(rpm=60, **settings).estimate
    assert told is not None
    assert told.low.seconds == pytest.approx(120)
    assert told.low.cost_usd is None
    assert evolgen.respond(**settings).requests == 0


def test_the_command_prints_it() -> None:
    command = ["evolve", str(ROOT / "examples" / "seeds.jsonl"), "-o", "out.jsonl",
               "--model", "gpt-4o-mini", "--base-url", "http://127.0.0.1:9/v1", "--estimate"]  # fmt: skip
    done = program.evolgen(*command)
    for text in ("requests: ", "prompt tokens: ", "cost: $", "time: ", "assumed: ", "nothing was asked"):
        assert text in done.stdout
    told = json.loads(program.evolgen(*command, "--json").stdout)
    assert told["estimate"]["low"]["requests"]["evolve"] == 4 * 68


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_probe_goes_by_the_teacher_itself(name: str, teacher: Teacher) -> None:
    """A teacher that fails every other evolution and dawdles over its answers."""

    async def dawdle(body: Body) -> web.StreamResponse:
        if kind(body) == "judge":
            return completion("Equal" if digest(body) < "8" else "Not Equal")
        if kind(body) == "answer":
            await asyncio.sleep(0.05)
        return completion(sensible(body))

    teacher.reply = dawdle
    call, settings = RUNS[name]
    settings = settings | {"base_url": teacher.url, "concurrency": 8}
    told = estimated(call, probe=40, **settings)
    probed = len(teacher.calls)
    assert 0 < probed < 400
    assert not list(Path().glob("out*"))
    real = call(out="out.jsonl", model="gpt-4o-mini", **settings)
    assert real.replayed >= 0.9 * probed, "what was probed is not paid again"
    needed = probed + real.requests - real.surplus
    assert 0.85 * total(told.low) <= needed <= 1.15 * total(told.high)
    assert told.high.prompt_tokens == pytest.approx(100 * total(told.high), rel=0.02)
    assert told.low.cost_usd is not None
    assert told.high.cost_usd is not None
    cost = (100 * 0.15 + 20 * 0.60) / 1e6
    assert 0.85 * told.low.cost_usd <= needed * cost <= 1.15 * told.high.cost_usd
    assert estimated(call, probe=40, **settings).low.requests == told.low.requests, "replayed, it says the same"


def test_a_probe_that_is_stopped_says_why(teacher: Teacher) -> None:
    async def wrong(body: Body) -> web.StreamResponse:
        return refusal(401, "no such key")

    teacher.reply = wrong
    with pytest.raises(evolgen.EvolgenError, match="the endpoint refused the key"):
        estimated(evolgen.respond, inputs=SEEDS, base_url=teacher.url, probe=5)
    with pytest.raises(evolgen.EvolgenError, match="probe: it goes with --estimate"):
        evolgen.respond(inputs=SEEDS, out="out.jsonl", model="m", base_url=teacher.url, probe=5)


def test_a_batch_costs_half_and_takes_as_long_as_it_likes() -> None:
    full = estimated(evolgen.respond, inputs=SEEDS, base_url="http://x/v1")
    half = estimated(evolgen.respond, inputs=SEEDS, base_url="http://x/v1", batch=True)
    assert half.low.cost_usd == pytest.approx((full.low.cost_usd or 0.0) / 2)
    assert half.low.seconds is None


def test_a_chain_is_not_estimated() -> None:
    Path("seeds.txt").write_text("Name a river.\n")
    Path("recipe.toml").write_text('out = "o.jsonl"\nestimate = true\n[evolve]\nseeds = "seeds.txt"\n[filter]\n')
    with pytest.raises(evolgen.EvolgenError, match="a chain can't be estimated"):
        evolgen.run("recipe.toml")
