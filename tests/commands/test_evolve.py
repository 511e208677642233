"""The Python API means what the command line means."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.asking import Request
from evolgen.config.address import Address
from evolgen.config.evolve import EvolveConfig
from evolgen.events import Committed, Event, Planned, Stored
from tests.conftest import ROOT, rows

GOLDEN = Path(__file__).parent.parent / "golden"


def script(request: Request) -> str:
    """A teacher of fixed habits: some of its answers are good, and each rule gets its share."""
    text = request.messages[-1][1]
    number = hashlib.sha256(f"{request.role}{request.messages}{request.repeat}".encode()).digest()[0]
    match request.role:
        case "judge":
            return "Equal" if number < 30 else "Not Equal" if number < 240 else "Hard to say."
        case "evolve" if number < 20:
            return text.upper()
        case "evolve" if number < 35:
            return "#Rewritten Prompt#: " + text
        case "evolve" if number < 50:
            return "List three things that everyone should know."
        case "evolve":
            return f"### Instruction:\n{text[-80:].strip()} Mention the number {number}."
        case _:
            return "Sorry, I can't." if number < 30 else f"The answer has to do with {number}, as anyone can see."


def test_golden_run() -> None:
    """The whole pipeline on the shipped seeds, compared byte for byte.

    A difference means that existing users' datasets change: say so in the changelog, then write the files anew with
    `cp` from the folder that the failure names.
    """
    summary = evolgen.evolve(
        seeds=ROOT / "examples" / "seeds.jsonl", out="golden.jsonl", script=script, rounds=2, include_seeds=True, seed=7
    )
    assert summary.complete
    for name in ("golden.jsonl", "golden.rejected.jsonl"):
        assert Path(name).read_bytes() == (GOLDEN / name).read_bytes(), f"{Path(name).absolute()} differs"
    assert {"equal", "sorry", "prompt_leak", "exact"} <= set(summary.by_rule)


def test_seeds_may_be_given_in_place() -> None:
    seeds = [{"instruction": "One."}, {"instruction": "Two.", "input": "x"}]
    summary = evolgen.evolve(
        seeds=seeds, out="out.jsonl", script=lambda request: f"Good {len(request.messages)}.", rounds=1
    )
    assert summary.candidates == 2
    config = EvolveConfig(seeds=seeds, out=Path("out.jsonl"), rounds=1, model="scripted")
    assert evolgen.evolve(config, script=lambda request: "No.", force=True).candidates == 2


def test_settings_by_name_go_on_top_of_a_config() -> None:
    config = EvolveConfig(
        seeds=[{"instruction": "One."}],
        out=Path("a.jsonl"),
        rounds=1,
        base_url=(Address.read("http://u:p@h/v1"),),
        model="m",
    )
    assert evolgen.evolve(config, script=script, rounds=3, out="b.jsonl").candidates == 3
    assert Path("b.manifest.json").exists()
    assert config.base_url[0].secrets[:2] == ("u", "p"), "only what is shown or written goes without the secret"


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook() -> int:
        return evolgen.evolve(
            seeds=[{"instruction": "One."}], out="out.jsonl", script=lambda request: "Fine words.", rounds=1
        ).candidates

    assert asyncio.run(notebook()) == 1


def test_an_observer_hears_everything_in_order() -> None:
    events: list[Event] = []
    summary = evolgen.evolve(
        seeds=[{"instruction": "One."}], out="out.jsonl", script=script, rounds=3, observer=events.append
    )
    assert isinstance(events[0], Planned)
    assert sum(isinstance(event, Stored) for event in events) == summary.requests
    committed = [event.row for event in events if isinstance(event, Committed)]
    assert [row.provenance.round for row in committed] == [1, 2, 3]


@pytest.mark.parametrize("settings", [{"out": "o.jsonl"}, {"seeds": [], "out": "o.jsonl"}, {"seeds": "s", "oout": "o"}])
def test_wrong_settings_are_usage_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(evolgen.EvolgenError):
        evolgen.evolve(**settings)


def test_inserting_a_seed_pays_for_one_seed() -> None:
    asked: list[Request] = []

    def counting(request: Request) -> str:
        asked.append(request)
        return script(request)

    seeds = [{"instruction": f"Task number {i}."} for i in range(10)]
    evolgen.evolve(seeds=seeds, out="out.jsonl", script=counting)
    before = rows(Path("out.jsonl"))
    asked.clear()
    evolgen.evolve(seeds=[*seeds[:3], {"instruction": "A new one."}, *seeds[3:]], out="out.jsonl", script=counting)
    assert 0 < len(asked) <= 12
    roots = {row["provenance"]["root"] for row in before}
    assert [row for row in rows(Path("out.jsonl")) if row["provenance"]["root"] in roots] == before


def test_n_rows_do_not_depend_on_concurrency_and_surplus_is_counted() -> None:
    def run(concurrency: int) -> tuple[bytes, int]:
        summary = evolgen.evolve(
            seeds=ROOT / "examples" / "seeds.jsonl", out="out.jsonl", script=script, n=40, concurrency=concurrency,
            store=f"{concurrency}.sqlite",
        )  # fmt: skip
        assert summary.accepted == 40
        assert summary.surplus >= 0
        used = sum(
            len(row["provenance"]["requests"])
            for name in ("out", "out.rejected")
            for row in rows(Path(f"{name}.jsonl"))
        )
        paid = summary.requests + summary.replayed
        assert paid == used + summary.surplus if concurrency == 1 else paid <= used + summary.surplus
        return Path("out.jsonl").read_bytes(), summary.surplus

    assert run(1)[0] == run(50)[0]


def test_more_passes_ask_new_questions() -> None:
    def by_pass(request: Request) -> str:
        return f"{script(request)} {request.sample}" if request.role != "judge" else "Not Equal"

    evolgen.evolve(seeds=[{"instruction": "One."}], out="out.jsonl", script=by_pass, n=25, rounds=2)
    samples = [row["provenance"]["sample"] for row in rows(Path("out.jsonl"))]
    assert len(samples) == 25
    assert samples == sorted(samples)
    assert samples[-1] >= 12


def test_the_manifest_describes_the_run() -> None:
    evolgen.evolve(
        seeds=[{"instruction": "One."}], out="out.jsonl", script=script, base_url="http://u:key@h/v1?k=key", model="m"
    )
    manifest = json.loads(Path("out.manifest.json").read_text())
    assert manifest["sha256"]["out.jsonl"] == hashlib.sha256(Path("out.jsonl").read_bytes()).hexdigest()
    assert manifest["config"]["base_url"] == ["http://h/v1"]
    assert set(manifest["prompts"]) >= {"deepen", "breadth", "judge/equal"}
    assert "key@" not in Path("out.manifest.json").read_text()


def test_what_belongs_to_a_seed_goes_along_and_comes_out_with_it() -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "Not Equal" if request.role == "judge" else f"Tell me why, {len(request.messages)}."

    before = [("system", "Be brief."), ("user", "Name a river."), ("assistant", "The Po.")]
    seeds: Any = [
        {"instruction": "And the longest?", "system": "Be brief.", "history": [["Name a river.", "The Po."]]},
        {"messages": [{"role": "system", "content": "Be a pirate."}, {"role": "user", "content": "Where is Rome?"}]},
    ]
    evolgen.evolve(seeds=seeds, out="out.jsonl", script=script, rounds=2, include_seeds=True, operators="deepen")
    answers = [list(request.messages) for request in asked if request.role == "answer"]
    of_first = [answer for answer in answers if len(answer) == 4]
    assert of_first[0] == [*before, ("user", "And the longest?")]
    assert [answer[:3] for answer in of_first] == [before] * len(of_first)
    assert any("assistant: The Po." in request.messages[-1][1] for request in asked if request.role == "evolve")
    first, *_, last = rows(Path("out.jsonl"))
    assert [turn["role"] for turn in first["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert last["messages"][0] == {"role": "system", "content": "Be a pirate."}
    assert last["provenance"]["root"] != first["provenance"]["root"]


def test_documented_keys_of_a_row_in_order() -> None:
    evolgen.evolve(seeds=[{"instruction": "One."}], out="out.jsonl", script=script, include_seeds=True)
    for row in rows(Path("out.jsonl")):
        assert list(row) == ["id", "instruction", "input", "output", "provenance"]
        assert list(row["provenance"]) == [
            "pipeline", "operator", "round", "parents", "root", "model", "sample", "prompt", "requests",
        ]  # fmt: skip
