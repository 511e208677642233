"""Recipes of several commands: one run, one manifest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

import evolgen
from evolgen.asking import Request
from evolgen.events import Event, Notice
from tests.conftest import rows
from tests.teacher import sensible

RECIPE = """
out = "data/all.jsonl"
model = "m"
seed = 3

[self-instruct]
seeds = ["seeds.jsonl"]
n = 20

[evolve]
rounds = 2
include_seeds = true

[filter]
preset = ["evol-instruct"]

[dedupe]
threshold = 0.6
"""


STAGES = ("self-instruct", "evolve", "filter", "dedupe")


@pytest.fixture(autouse=True)
def _files() -> None:
    seeds = ({"instruction": f"Say what {word} is for."} for word in ("salt", "rope", "glass", "paper"))
    Path("seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    Path("recipe.toml").write_text(RECIPE)


def script(request: Request) -> str:
    messages = [{"role": role, "content": content} for role, content in request.messages]
    text = sensible({"messages": messages, "sample": request.sample})
    return "Sorry, no." if request.role == "answer" and "3" in text[14:16] and request.schema is None else text


def test_each_stage_works_on_what_the_one_before_it_gave() -> None:
    told: list[Event] = []
    summary = evolgen.run("recipe.toml", script=script, observer=told.append)
    out, rejected = rows(Path("data/all.jsonl")), rows(Path("data/all.rejected.jsonl"))
    assert summary.complete
    assert [stage.pipeline for stage in summary.stages] == ["self-instruct", "evol-instruct", "filter", "dedupe"]
    tasks, evolved, kept, unique = summary.stages
    assert tasks.accepted == 20
    assert evolved.candidates == 60
    assert kept.candidates == evolved.accepted
    assert unique.candidates == kept.accepted
    assert len(out) == unique.accepted == summary.accepted
    assert len(rejected) == summary.rejected == sum(stage.rejected for stage in summary.stages)
    assert summary.candidates == summary.accepted + summary.rejected
    assert Counter(row["rejection"]["rule"] for row in rejected) == summary.by_rule
    assert {"sorry", "rouge-l"} <= summary.by_rule.keys()
    assert out[0]["provenance"]["pipeline"] == "evol-instruct"
    stages = [event.text for event in told if isinstance(event, Notice) and event.text.startswith("stage")]
    assert stages == [
        f"stage {n} of 4, {name}" for n, name in enumerate(("self-instruct", "evolve", "filter", "dedupe"), 1)
    ]


def test_one_manifest_tells_of_all_stages() -> None:
    summary = evolgen.run("recipe.toml", script=script)
    manifest = json.loads(Path("data/all.manifest.json").read_text())
    assert manifest["sha256"]["all.jsonl"] == hashlib.sha256(Path("data/all.jsonl").read_bytes()).hexdigest()
    assert [stage["config"]["out"] for stage in manifest["stages"]] == [
        f"data/all.stages/{number}-{name}.jsonl" for number, name in enumerate(STAGES, start=1)
    ]
    assert {"self_instruct/instructions", "self_instruct/input_first"} <= manifest["stages"][0]["prompts"].keys()
    assert manifest["requests"] == sum(stage["requests"] for stage in manifest["stages"]) == summary.requests


def test_a_stopped_chain_is_taken_up_where_it_was() -> None:
    Path("recipe.toml").write_text(RECIPE.replace("seed = 3", "seed = 3\nmax_requests = 60"))
    summary = evolgen.run("recipe.toml", script=script)
    assert not summary.complete
    assert summary.stopped is not None
    assert summary.stopped.startswith("stage 2 of 4, evolve: --max-requests")
    assert summary.requests == 60, "the budget is of the whole chain"
    assert not Path("data/all.jsonl").exists()
    assert not list(Path("data").glob("all*.part"))
    Path("recipe.toml").write_text(RECIPE)
    again = evolgen.run("recipe.toml", script=script)
    assert again.complete
    assert again.replayed >= 60
    first = Path("data/all.jsonl").read_bytes()
    Path("recipe.toml").write_text(
        RECIPE.replace("data/", "fresh/").replace("seed = 3", 'seed = 3\nstore = "f.sqlite"')
    )
    assert evolgen.run("recipe.toml", script=script).requests == again.requests + 60
    assert Path("fresh/all.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('out = "data/all.jsonl"', "", "says at its top where its rows go"),
        ("seed = 3", "sede = 3", "sede: none of its commands has such a setting"),
        ("rounds = 2", "rouds = 2", "[evolve] rouds: there is no such setting; did you mean rounds?"),
        ("rounds = 2", 'rounds = 2\noperators = "deepn"', "[evolve] --operators deepn"),
        ("rounds = 2", 'rounds = 2\nout = "x.jsonl"', "[evolve] out: in a chain it stands at the top"),
        ("evol-instruct", "evol", "[filter] there is no preset evol"),
        ("threshold = 0.6", "threshold = 2", "[dedupe] threshold"),
        ("[dedupe]", "[dedup]", "[dedup] is no command; did you mean [dedupe]?"),
        ("[dedupe]", "[dedupe", "not TOML"),
        ("seeds.jsonl", "gone.jsonl", "gone.jsonl: it can't be read"),
        ("seeds.jsonl", "data/all.jsonl", "would be overwritten"),
        ("n = 20", "", "[self-instruct] n: this setting is needed"),
    ],
)
def test_what_is_wrong_in_any_stage_is_said_before_anything_is_asked(old: str, new: str, problem: str) -> None:
    Path("recipe.toml").write_text(RECIPE.replace(old, new, 1))
    asked: list[Request] = []
    with pytest.raises(evolgen.EvolgenError) as failure:
        evolgen.run("recipe.toml", script=lambda request: asked.append(request) or "no")  # type: ignore[func-returns-value]
    assert problem in str(failure.value)
    assert asked == []
    assert not list(Path("data").glob("*.jsonl*"))


def test_a_recipe_of_one_table_is_that_command() -> None:
    Path("one.toml").write_text('[respond]\ninputs = ["seeds.jsonl"]\nout = "o.jsonl"\nsamples = 2\n')
    assert evolgen.run("one.toml", script=script).candidates == 8
    assert {row["provenance"]["sample"] for row in rows(Path("o.jsonl"))} == {0, 1}


def test_a_foreign_file_is_not_overwritten_by_a_chain() -> None:
    Path("data").mkdir()
    Path("data/all.jsonl").write_text("mine\n")
    with pytest.raises(evolgen.EvolgenError, match="--force"):
        evolgen.run("recipe.toml", script=script)
    assert Path("data/all.jsonl").read_text() == "mine\n"


def test_a_chain_that_ends_with_nothing_replaces_no_rows_and_shows_none_of_before() -> None:
    assert evolgen.run("recipe.toml", script=script).accepted > 0
    before = Path("data/all.jsonl").read_bytes()
    Path("recipe.toml").write_text(RECIPE + "[decontaminate]\nagainst = 'bench.txt'\ncoverage = 0\nngram = 1\n")
    Path("bench.txt").write_text(
        " ".join(word for row in rows(Path("data/all.jsonl")) for word in row["instruction"].split())
    )
    summary = evolgen.run("recipe.toml", script=script)
    assert (summary.accepted, summary.published, summary.complete) == (0, False, True)
    assert Path("data/all.jsonl").read_bytes() == before
    assert len(rows(Path("data/all.rejected.jsonl.part"))) == summary.rejected


def test_a_stage_that_gives_nothing_ends_the_chain_with_its_rules() -> None:
    Path("recipe.toml").write_text(RECIPE.replace('preset = ["evol-instruct"]', "rule = { min_output_words = 999 }"))
    summary = evolgen.run("recipe.toml", script=script)
    assert not summary.complete
    assert summary.stopped is not None
    assert "stage 3 of 4, filter: it accepted no row (min_output_words 52)" in summary.stopped
