from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evolgen.asking import Answer, Request
from evolgen.config.evolve import EvolveConfig
from evolgen.errors import Refused, TeacherError, Unanswered, UsageError
from evolgen.pipelines.evol_instruct import DATA_FORMATS, Templates, Visit, draw_operator, evolve, load
from evolgen.prompts import PromptLibrary
from evolgen.records import Record, Seed
from tests.pipelines.asking import Replies, answer, asking

OPERATORS = ["add_constraints", "breadth", "complicate_input", "concretize", "deepen", "increase_reasoning"]
SEED = Seed(instruction="Name a river.")


def loaded(**settings: Any) -> tuple[EvolveConfig, Templates]:
    """Settings and their templates."""
    defaults: dict[str, Any] = {"seeds": ["-"], "out": "o.jsonl", "rounds": 1, "max_tokens": 50}
    config = EvolveConfig(**(defaults | settings))
    return config, load(config, PromptLibrary(config.prompts))


def drawn(visit: Visit, round: int, **settings: Any) -> str:
    return draw_operator(visit, round, *loaded(**settings)).name


def run(replies: Replies, visit: Visit | None = None, **settings: Any) -> tuple[list[Record], list[Request]]:
    """One lineage, answered by a function; returns its rows and what it asked."""
    ask, asked = asking(replies)

    async def collect() -> list[Record]:
        return [row async for row in evolve(visit or Visit(SEED), ask, *loaded(**settings))]

    return asyncio.run(collect()), asked


def good(request: Request) -> str:
    match request.role:
        case "judge":
            return "Not Equal"
        case "evolve":
            return f"{request.messages[-1][1].split(chr(10), 1)[1].strip()} And why?"
        case _:
            return "The Danube, because it is long."


def but(**replies: str | Answer | TeacherError) -> Replies:
    """Good replies, except for a role."""
    return lambda request: replies.get(request.role, good(request))


def test_a_round_evolves_judges_and_answers() -> None:
    (row,), asked = run(good, operators={"deepen": 1.0})
    assert [request.role for request in asked] == ["evolve", "judge", "answer"]
    assert (row.instruction, row.output) == ("Name a river. And why?", "The Danube, because it is long.")
    assert row.rejection is None
    assert row.provenance.operator == "deepen"
    assert row.provenance.parents == (SEED.id,) == (row.provenance.root,)
    assert len(row.provenance.requests) == 3
    assert [request.temperature for request in asked] == [1.0, 0.0, 1.0]
    assert asked[2].messages == (("user", "Name a river. And why?"),)


def test_rounds_build_on_each_other() -> None:
    rows, _ = run(good, operators={"deepen": 1.0}, rounds=4)
    assert [row.provenance.round for row in rows] == [1, 2, 3, 4]
    assert rows[3].instruction == "Name a river." + " And why?" * 4
    assert [row.provenance.parents[0] for row in rows] == [SEED.id, *(row.id for row in rows[:3])]
    assert {row.provenance.root for row in rows} == {SEED.id}


@pytest.mark.parametrize(
    ("replies", "stage", "rule", "asked"),
    [
        (but(judge="Equal"), "eliminate", "equal", 2),
        (but(evolve="  NAME a river. "), "eliminate", "equal", 1),
        (but(evolve="The rewritten prompt: name it"), "eliminate", "prompt_leak", 1),
        (but(answer="Sorry, no idea."), "eliminate", "sorry", 3),
        (but(answer="it is ... and so!"), "eliminate", "stop_words", 3),
        (but(answer=""), "parse", "empty_answer", 3),
        (but(answer=answer("half of", "length")), "parse", "cut", 3),
        (but(answer="bell \x07"), "parse", "unprintable", 3),
        (but(evolve=""), "parse", "empty", 1),
        (but(evolve=answer("half of", "length")), "parse", "cut", 1),
        (but(evolve="half \ud800"), "parse", "unprintable", 1),
        (but(evolve=Refused("content_filter", "no")), "backend", "content_filter", 1),
        (but(evolve=answer("", refusal="I won't")), "backend", "refusal", 1),
        (but(answer=answer("x", "content_filter")), "backend", "content_filter", 3),
        (but(answer=Unanswered("timeout", "late")), "backend", "timeout", 3),
    ],
)
def test_each_way_to_fail_is_a_rejection_with_its_rule(replies: Replies, stage: str, rule: str, asked: int) -> None:
    (row,), requests = run(replies, operators={"deepen": 1.0})
    assert row.rejection is not None
    assert (row.rejection.stage, row.rejection.rule) == (stage, rule)
    assert row.rejection.reason
    assert len(requests) == asked, "nothing is asked for a row that has failed"
    row.to_line()


@pytest.mark.parametrize(
    ("rule", "replies"),
    [
        ("equal", but(judge="Equal")),
        ("sorry", but(answer="Sorry, no idea.")),
        ("stop_words", but(answer="it is")),
        ("prompt_leak", but(evolve="The rewritten prompt: name it")),
    ],
)
def test_each_rule_can_be_switched_off(rule: str, replies: Replies) -> None:
    (row,), asked = run(replies, no_rule=[rule])
    assert row.rejection is None
    assert ("judge" in [request.role for request in asked]) == (rule != "equal")


@pytest.mark.parametrize("said", ["They are the same", "", "I cannot judge this. Equal", "Equality is a fine thing"])
def test_an_unreadable_verdict_eliminates_nothing_and_is_counted(said: str) -> None:
    (row,), _ = run(but(judge=said))
    assert row.rejection is None
    assert row.notes == ("no_verdict",)


def test_a_judge_that_refuses_eliminates_nothing() -> None:
    (row,), _ = run(but(judge=Refused("content_filter", "no")))
    assert row.rejection is None
    assert row.notes == ("no_verdict",)


def test_a_long_answer_may_say_sorry() -> None:
    (row,), _ = run(but(answer="I am sorry to say that " + "it is a long story " * 20))
    assert row.rejection is None


def test_a_failed_evolution_gives_its_parent_back_and_is_asked_anew() -> None:
    replies = iter(["", "Name a river", "Name a river in Asia."])

    def reply(request: Request) -> str:
        return next(replies) if request.role == "evolve" else good(request)

    rows, asked = run(reply, operators={"deepen": 1.0}, rounds=3, no_rule=["equal"])
    evolving = [request for request in asked if request.role == "evolve"]
    assert [row.rejection is None for row in rows] == [False, True, True]
    assert evolving[0].messages == evolving[1].messages
    assert [request.repeat for request in evolving] == [0, 1, 0]
    assert rows[1].provenance.parents == (SEED.id,)
    assert rows[2].provenance.parents == (rows[1].id,)


def test_no_answer_ends_the_lineage_and_a_refused_question_does_not() -> None:
    rows, _ = run(but(evolve=Unanswered("timeout", "late")), rounds=4)
    assert len(rows) == 1
    rows, _ = run(but(evolve=Refused("bad_request", "no")), rounds=4)
    assert len(rows) == 4


def test_seeds_are_answered_on_the_first_visit_only() -> None:
    rows, _ = run(good, include_seeds=True)
    assert [row.provenance.operator == "seed" for row in rows] == [True, False]
    assert (rows[0].id, rows[0].provenance.round, rows[0].provenance.parents) == (SEED.id, 0, ())
    rows, asked = run(good, Visit(SEED, 2), include_seeds=True)
    assert [row.provenance.sample for row in rows] == [2]
    assert {request.sample for request in asked} == {2}


def test_an_input_goes_along_and_comes_back_apart() -> None:
    seed = Seed(instruction="Sort these.", input="3 1 2")
    (row,), asked = run(good, Visit(seed), operators={"deepen": 1.0})
    assert asked[0].messages[-1][1].endswith("Sort these.\n\n### Input:\n3 1 2")
    assert (row.instruction, row.input) == ("Sort these.", "3 1 2 And why?")
    assert asked[2].messages[-1][1] == "Sort these.\n\n3 1 2 And why?"


def test_operators_are_drawn_uniformly_and_by_weight() -> None:
    every = loaded()
    visits = [Visit(Seed(instruction=f"seed {i}")) for i in range(3000)]
    counts = Counter(draw_operator(visit, round, *every).name for visit in visits for round in (1, 2))
    assert sorted(counts) == OPERATORS
    assert all(850 < count < 1150 for count in counts.values())
    weighted = loaded(operators={"deepen": 3.0, "breadth": 1.0})
    counts = Counter(draw_operator(visit, 1, *weighted).name for visit in visits)
    assert 2100 < counts["deepen"] < 2400


def test_the_order_in_which_operators_are_named_decides_nothing() -> None:
    one, other = loaded(operators={"deepen": 1.0, "breadth": 2.0}), loaded(operators={"breadth": 2.0, "deepen": 1.0})
    visits = [Visit(Seed(instruction=f"seed {i}")) for i in range(50)]
    assert [draw_operator(v, 1, *one) for v in visits] == [draw_operator(v, 1, *other) for v in visits]


def test_draws_depend_on_the_lineage_and_not_on_its_place() -> None:
    every = loaded()

    def draws(seeds: Sequence[Seed]) -> dict[str, list[str]]:
        return {
            f"{seed.instruction}{seed.occurrence}": [draw_operator(Visit(seed), r, *every).name for r in range(1, 9)]
            for seed in seeds
        }

    seeds = [Seed(instruction=text) for text in "abcd"]
    before = draws(seeds)
    after = draws([Seed(instruction="new"), *seeds[::-1]])
    assert {name: after[name] for name in before} == before
    twice = draws([seeds[0], Seed(instruction="a", occurrence=1)])
    assert twice["a0"] != twice["a1"]
    others = [drawn(Visit(seeds[0]), round, seed=1) for round in range(1, 9)]
    assert others != before["a0"]


def test_complicated_inputs_name_a_kind_of_data() -> None:
    kinds = set()
    for number in range(60):
        _, asked = run(good, Visit(Seed(instruction=f"Task {number}")), operators={"complicate_input": 1.0})
        kinds.add(asked[0].messages[-1][1].split("\n")[0].removeprefix("Add data to this instruction. Kind of data: "))
    assert kinds == set(DATA_FORMATS)


def test_static_text_comes_first_in_every_prompt() -> None:
    """All requests of one template share everything but the last message, so that servers can cache it."""
    for operator in OPERATORS:
        prompts = [run(good, Visit(Seed(instruction=text)), operators={operator: 1.0})[1] for text in ("One.", "Two.")]
        assert prompts[0][0].messages[:-1] == prompts[1][0].messages[:-1]
        assert len(prompts[0][0].messages) > 5, "few-shot examples"


def test_a_template_in_the_users_folder_is_a_new_operator(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "evol_instruct"
    folder.mkdir(parents=True)
    (folder / "simplify.txt").write_text("=== user\nMake this simpler:\n{instruction}\n")
    (folder / "deepen.txt").write_text("=== user\nMine:\n{instruction}\n")
    (row,), asked = run(good, operators={"simplify": 1.0}, prompts=tmp_path / "mine")
    assert row.provenance.operator == "simplify"
    assert asked[0].messages == (("user", "Make this simpler:\nName a river."),)
    _, asked = run(good, operators={"deepen": 1.0}, prompts=tmp_path / "mine")
    assert asked[0].messages == (("user", "Mine:\nName a river."),)


def test_wrong_operators_and_templates_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean deepen"):
        loaded(operators={"deepn": 1.0})
    folder = tmp_path / "evol_instruct"
    folder.mkdir()
    for text, problem in [
        ("=== user\nno placeholder", "must contain {instruction}"),
        ("just text", "must begin with a line"),
        ("=== user\n{instruction}\n=== assistant\nok", "last section must be"),
    ]:
        (folder / "deepen.txt").write_text(text)
        with pytest.raises(UsageError, match=problem):
            loaded(operators={"deepen": 1.0}, prompts=tmp_path)
