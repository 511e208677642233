"""The four stages, answered by a function."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from evolgen.asking import Answer, Request
from evolgen.config.self_instruct import SelfInstructConfig
from evolgen.curate.filters.selection import select
from evolgen.curate.novelty import NoveltyIndex
from evolgen.curate.tokens import unicode_tokens
from evolgen.errors import Refused, TeacherError, Unanswered
from evolgen.pipelines.pool import Pool
from evolgen.pipelines.self_instruct import Stages, grow, load
from evolgen.prompts import PromptLibrary
from evolgen.records import Record, Seed, record_id
from tests.pipelines.asking import Replies, answer, asking

SEEDS = [Seed(instruction=f"Explain to a friend what {word} means in daily life.") for word in
         ["justice", "hope", "rain", "bread", "glue", "salt", "iron", "moss", "tide", "wind"]]  # fmt: skip

TASKS = ["Name the longest river of Europe.", "Sort the fruit by its colour and size."]


def listed(*tasks: str) -> str:
    return json.dumps({"tasks": tasks})


def instances(*pairs: tuple[str, str]) -> str:
    return json.dumps({"instances": [{"input": input, "output": output} for input, output in pairs]})


def good(request: Request) -> str:
    match request.role:
        case "invent":
            return listed(*TASKS)
        case "judge":
            return "Yes" if "Sort" in said(request) else "No"
        case _:
            if "label" in str(request.schema):
                return json.dumps(
                    {"instances": [{"label": "red", "input": "cherry"}, {"label": "blue", "input": "plum"}]}
                )
            return instances(("", "The Volga."))


def said(request: Request) -> str:
    return request.messages[-1][1]


def but(**replies: str | Answer | TeacherError) -> Replies:
    """Good replies, except for a role."""
    return lambda request: replies.get(request.role, good(request))


def loaded(no_rule: tuple[str, ...] = (), **settings: Any) -> tuple[SelfInstructConfig, Stages]:
    """Settings and what is asked with them."""
    defaults: dict[str, Any] = {"seeds": ["-"], "out": "o.jsonl", "n": 5, "max_tokens": 50}
    config = SelfInstructConfig(**(defaults | settings))
    return config, load(config, PromptLibrary(), select(["self-instruct"], no_rule=no_rule))


def run(
    replies: Replies, *numbers: int, seeds: list[Seed] = SEEDS, no_rule: tuple[str, ...] = (), **settings: Any
) -> tuple[list[Record], list[Request]]:
    """Some requests, side by side; returns their rows in order, and what was asked."""
    ask, asked = asking(replies)
    config, stages = loaded(no_rule, **settings)
    pool = Pool(seeds, NoveltyIndex(0.7, unicode_tokens), seed=0)

    async def lineage(number: int) -> list[Record]:
        return [row async for row in grow(number, ask, config, stages, pool)]

    async def collect() -> list[Record]:
        return [row for rows in await asyncio.gather(*map(lineage, numbers or (0,))) for row in rows]

    return asyncio.run(collect()), asked


def rules_of(rows: list[Record]) -> list[str | None]:
    return [row.rejection.rule if row.rejection else None for row in rows]


def test_a_request_becomes_rows() -> None:
    rows, asked = run(good)
    assert [(row.instruction, row.input, row.output) for row in rows] == [
        (TASKS[0], "", "The Volga."), (TASKS[1], "cherry", "red"), (TASKS[1], "plum", "blue"),
    ]  # fmt: skip
    assert [row.provenance.operator for row in rows] == ["input_first", "output_first", "output_first"]
    assert {row.provenance.root for row in rows} == {record_id(task, "") for task in TASKS}
    assert [len(row.provenance.requests) for row in rows] == [3, 3, 3]
    assert len(asked) == 5
    assert rules_of(rows) == [None] * 3


def test_it_asks_as_the_paper_does() -> None:
    _, asked = run(good)
    invent, classify, answer = asked[0], asked[1], asked[-1]
    assert (invent.temperature, invent.top_p, invent.presence_penalty) == (0.7, 0.5, 2.0)
    assert classify.temperature == answer.temperature == 0.0
    assert answer.presence_penalty == 1.5
    shown = json.loads(invent.messages[2][1])["tasks"]
    assert len(set(shown)) == 8
    assert set(shown) <= {seed.instruction for seed in SEEDS}
    _, asked = run(good, temperature=0.2, top_p=0.9)
    assert [(each.temperature, each.top_p) for each in asked][::4] == [(0.2, 0.9), (0.2, 0.9)]
    assert asked[1].temperature == 0.0, "sampling flags don't touch classification"


def test_later_requests_show_two_of_the_pool_and_six_seeds() -> None:
    rivers = iter(["Volga", "Danube", "Rhine", "Loire", "Po", "Ebro", "Elbe", "Oder", "Don", "Ural"] * 9)

    def replies(request: Request) -> str:
        if request.role == "invent":
            return listed(f"Describe {next(rivers)} {request.sample} with its {request.sample * 7} towns.")
        return good(request)

    _, asked = run(replies, *range(30), lag=1)
    shown = [json.loads(each.messages[2][1])["tasks"] for each in asked if each.role == "invent"]
    assert [sum("towns" in task for task in tasks) for tasks in shown] == [0, 1, *[2] * 28]
    assert all(len(tasks) == 8 for tasks in shown)
    assert len({tuple(tasks) for tasks in shown}) == 30
    assert any(index < 4 for tasks in shown for index, task in enumerate(tasks) if "towns" in task), "shuffled"


def test_a_base_model_gets_few_shot_texts() -> None:
    def replies(request: Request) -> str:
        assert request.prompt is not None
        assert request.schema is None
        if request.role == "invent":
            return " Name the year after 2015.\n10. Name the year before\n2016.\n11. Explain COVID in short words."
        if request.role == "judge":
            return " No"
        return "Input: x\nOutput: y"

    rows, asked = run(replies, completion=True)
    assert asked[0].prompt is not None
    assert asked[0].prompt.endswith("\n9.")
    assert "\n1. Explain to a friend" in asked[0].prompt
    assert asked[0].stop == ("\n\n", "\n16."), 'the original\'s "16." would cut "2016."'
    assert [row.instruction for row in rows] == [
        "Name the year after 2015.", "Name the year before\n2016.", "Explain COVID in short words.",
    ]  # fmt: skip
    assert asked[1].prompt is not None
    assert asked[1].prompt.count("Task:") > 10, "more examples make up for tuning"
    assert asked[1].stop == asked[-1].stop == ("\nTask:",)


def test_where_no_schema_is_taken_the_question_is_put_as_text() -> None:
    _, asked = run(good)
    assert asked[0].textual[2][1].startswith("1. Explain to a friend")
    assert "Example 1\nInput: Rosa" in asked[-1].textual[2][1] or "Label: " in asked[-1].textual[2][1]
    assert asked[1].textual == ()


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        ("Name a river.", "instruction_length"),
        ("Name " + "very " * 150, "instruction_length"),
        ("Draw me a house please.", "blocked_words"),
        ("Write a program that sorts numbers.", "writes_program"),
        ("- Name the longest river.", "odd_start"),
        ("Explain to a friend what JUSTICE means in daily life!", "rouge-l"),
        ("a\x00bell in the night", "unprintable"),
        ("", "unread"),
    ],
)
def test_each_rule_on_instructions_has_its_rejection(task: str, rule: str) -> None:
    rows, asked = run(but(invent=listed(task, TASKS[0])))
    assert rules_of(rows) == [rule, None]
    assert len(asked) == 3, "nothing more is asked for a task that has failed"
    rows[0].to_line()


def test_a_near_seed_and_a_near_pool_task_are_matched() -> None:
    rows, _ = run(
        but(invent=listed("Explain to a friend what hope means in a daily life.", TASKS[0], TASKS[0].upper()))
    )
    seed, _, pool = (row.rejection for row in rows)
    assert seed is not None
    assert pool is not None
    assert seed.match is not None
    assert pool.match is not None
    assert (seed.match.source, seed.match.text) == ("seeds", SEEDS[1].instruction)
    assert seed.match.score == pytest.approx(2 * 10 / 21)
    assert (pool.match.source, pool.match.id) == ("out", record_id(TASKS[0], ""))


def test_what_was_ever_in_the_pool_is_known_whatever_became_of_it() -> None:
    rows, _ = run(but(invent=listed(TASKS[0], TASKS[0]), answer=instances(("", ""))))
    assert rules_of(rows) == ["no_output", "rouge-l"]


@pytest.mark.parametrize(
    ("said", "rules"),
    [
        (instances(("a", "A"), ("b", "B")), [None, None]),
        (instances(("a", "a"), ("b", "B")), ["same_as_input", None]),
        (instances(("a", ""), ("b", "B:")), ["no_output", "ends_with_colon"]),
        (instances(("a", "A"), ("a", "B"), ("c", "C")), ["conflicting_outputs"] * 3),
        (instances(("", "A"), ("", "B"), ("", "A")), [None, None, "repeated_instance"]),
        (instances(("a", "A"), ("a", "A")), [None, "repeated_instance"]),
        (instances(*((str(n), str(n + 10)) for n in range(7))), [*[None] * 5, *["too_many_instances"] * 2]),
        (instances(("bell \x07", "x")), ["unprintable"]),
        ("", ["empty_answer"]),
        ('{"instances": []}', ["empty_answer"]),
        ("Input: a", ["unread"]),
        (answer('{"instances": [{"input": "a", "output": "A"}, {"input": "b", "out', "length"), [None, "unread"]),
        (answer("Input: a\nOutput: A\n\nInput: b\nOutput: B", "length"), [None, "unread"]),
        (Refused("content_filter", "no"), ["content_filter"]),
        (answer("", refusal="I won't"), ["refusal"]),
        (Unanswered("timeout", "late"), ["timeout"]),
    ],
)
def test_each_rule_on_instances_has_its_rejection(said: str | Answer | TeacherError, rules: list[str | None]) -> None:
    rows, _ = run(but(invent=listed(TASKS[0]), answer=said))
    assert rules_of(rows) == rules
    assert all(row.instruction == TASKS[0] for row in rows)
    assert len({(row.id, row.provenance.sample) for row in rows if row.rejection is None}) == rules.count(None)


def test_rules_can_be_left_out() -> None:
    seven = instances(("a", "a"), *((str(n), str(n + 10)) for n in range(6)))
    rows, _ = run(but(invent=listed("¿Qué es esto en casa?"), answer=seven),
                  no_rule=("odd_start", "too_many_instances", "same_as_input"))  # fmt: skip
    assert rules_of(rows) == [None] * 7


@pytest.mark.parametrize(
    ("said", "stage", "rule"),
    [
        (answer(listed(*TASKS), "length"), "parse", "cut"),
        ("", "parse", "empty"),
        ('{"tasks": []}', "parse", "empty"),
        ("I'd rather not.", "parse", "unread"),
        (Unanswered("http_500", "no"), "backend", "http_500"),
        (Refused("context_length", "no"), "backend", "context_length"),
        (answer("x", "content_filter"), "backend", "content_filter"),
    ],
)
def test_a_list_that_fails_is_one_rejection_and_stops_no_other(
    said: str | Answer | TeacherError, stage: str, rule: str
) -> None:
    """A failed call is never counted as done, and a cut list is dropped whole, as in the original, but kept to see."""
    rows, _ = run(lambda request: said if request.role == "invent" and request.sample == 1 else good(request), 0, 1, 2)
    failed = rows[3].rejection
    assert failed is not None
    assert (failed.stage, failed.rule) == (stage, rule)
    assert rules_of(rows) == [None] * 3 + [rule] + ["rouge-l"] * 2


def test_an_unreadable_classification_is_counted_and_treated_as_no() -> None:
    rows, _ = run(but(judge="Hard to tell."))
    assert {row.provenance.operator for row in rows} == {"input_first"}
    assert rows[0].notes == ("no_verdict",)


def test_a_halt_in_one_task_lets_the_others_finish_and_keeps_the_rows_before_it() -> None:
    class Halt(Exception):
        pass

    finished: list[str] = []

    async def ask(request: Request) -> Answer:
        if request.role == "answer":
            await asyncio.sleep(0.01)
            finished.append(said(request))
        if request.role == "judge" and "Sort" in said(request):
            raise Halt
        return answer(good(request))

    config, stages = loaded(lag=9)
    rows: list[Record] = []

    async def collect() -> None:
        async for row in grow(0, ask, config, stages, Pool(SEEDS, NoveltyIndex(0.7, unicode_tokens), seed=0)):
            rows.append(row)

    with pytest.raises(Halt):
        asyncio.run(collect())
    assert [row.instruction for row in rows] == TASKS[:1]
    assert len(finished) == 1
