"""Answers to instructions and conversations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.asking import Request
from evolgen.records import conversation_id
from tests.conftest import rows
from tests.teacher import Teacher

CHAT: Any = {
    "messages": [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": "The Volga."},
        {"role": "user", "content": "And a lake?"},
        {"role": "assistant", "content": "An old answer."},
    ]
}


def echo(request: Request) -> str:
    return f"{request.sample}: {' / '.join(f'{role} {text}' for role, text in request.messages)}"


def test_instructions_and_conversations_are_answered_in_their_own_shape() -> None:
    prompts: Any = [{"instruction": "Add.", "input": "1 2", "output": "old"}, CHAT, {"prompt": "Name a hill."}]
    summary = evolgen.respond(inputs=prompts, out="out.jsonl", script=echo, system="Be kind.")
    assert summary.complete
    alpaca, chat, hill = rows(Path("out.jsonl"))
    assert list(alpaca) == ["id", "instruction", "input", "output", "provenance"]
    assert alpaca["output"] == "0: system Be kind. / user Add.\n\n1 2"
    assert list(chat) == ["id", "messages", "provenance"]
    assert chat["messages"][:-1] == CHAT["messages"][:-1]
    assert chat["messages"][-1]["role"] == "assistant"
    assert chat["messages"][-1]["content"].startswith("0: system You are brief. / user Name a river. / assistant The")
    assert "old answer" not in json.dumps(chat)
    assert chat["id"] == conversation_id((turn["role"], turn["content"]) for turn in CHAT["messages"][:-1])
    assert hill["output"].endswith("user Name a hill.")


def test_samples_are_asked_apart_and_rows_are_unique() -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return echo(request)

    prompts: Any = [
        {"instruction": "Name a river."},
        {"instruction": "name a river."},
        {"instruction": "Name a river."},
    ]
    summary = evolgen.respond(inputs=prompts, out="out.jsonl", script=script, samples=3)
    written = rows(Path("out.jsonl"))
    assert len(asked) == 6
    assert [(row["instruction"], row["provenance"]["sample"]) for row in written] == [
        (text, sample) for sample in range(3) for text in ("Name a river.", "name a river.")
    ]
    assert summary.by_rule == {"exact": 3}
    assert len({(row["id"], row["provenance"]["sample"]) for row in written}) == 6


@pytest.mark.parametrize(
    ("prompt", "rule"),
    [
        ({"messages": [{"role": "assistant", "content": "Hello!"}]}, "no_instruction"),
        ({"messages": [{"role": "user", "content": None}]}, "unknown_shape"),
        ({"messages": [{"role": "tool", "content": "42"}, {"role": "user", "content": "So?"}]}, "unknown_shape"),
        ({"messages": [{"role": "user", "content": " "}]}, "no_instruction"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, "unprintable"),
        ({"messages": []}, "no_instruction"),
        ({"nothing": 1}, "unknown_shape"),
    ],
)
def test_a_bad_prompt_costs_its_own_row(prompt: dict[str, Any], rule: str) -> None:
    summary = evolgen.respond(inputs=[prompt, {"instruction": "Add."}], out="out.jsonl", script=echo)
    assert (summary.accepted, summary.by_rule) == (1, {rule: 1})
    assert rows(Path("out.rejected.jsonl"))[0]["rejection"]["reason"].startswith("inputs[1]: ")
    with pytest.raises(evolgen.EvolgenError, match="strict"):
        evolgen.respond(inputs=[prompt, {"instruction": "Add."}], out="out.jsonl", script=echo, strict=True)


def test_a_conversation_whose_answer_fails_is_a_rejected_conversation(teacher: Teacher) -> None:
    evolgen.respond(inputs=[CHAT, {"instruction": "Add."}], out="out.jsonl", script=lambda request: "")
    chat, alpaca = rows(Path("out.rejected.jsonl"))
    assert chat["messages"] == CHAT["messages"][:-1]
    assert chat["rejection"]["rule"] == alpaca["rejection"]["rule"] == "empty_answer"
    evolgen.respond(inputs="out.rejected.jsonl", out="again.jsonl", model="m", base_url=teacher.url)
    assert len(rows(Path("again.jsonl"))) == 2, "rejected rows can be tried again"


HISTORY: Any = {
    "instruction": "And the longest?", "input": "", "output": "x", "history": [["Name a river.", "The Po."]],
    "system": "Be brief.",
}  # fmt: skip


def test_what_belongs_to_a_question_is_asked_and_kept() -> None:
    rows_in: list[Any] = [HISTORY, {"instruction": "When?", "context": "It was 1932.", "response": "x"}]
    evolgen.respond(inputs=rows_in, out="out.jsonl", script=echo, system="Unused.", temperature=0.0)
    chat, alpaca = rows(Path("out.jsonl"))
    said = "system Be brief. / user Name a river. / assistant The Po. / user And the longest?"
    assert chat["messages"][-1]["content"] == f"0: {said}"
    assert [turn["role"] for turn in chat["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert (alpaca["input"], alpaca["output"]) == ("It was 1932.", "0: system Unused. / user When?\n\nIt was 1932.")


def test_sharegpt_is_understood() -> None:
    row: Any = {"conversations": [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": "Ho"}]}
    evolgen.respond(inputs=[row], out="out.jsonl", script=echo, temperature=0.0)
    (written,) = rows(Path("out.jsonl"))
    assert [turn["content"] for turn in written["messages"]] == ["Name a river.", "0: user Name a river."]
    assert evolgen.filter(inputs="out.jsonl", out="kept.jsonl").accepted == 1, "what it writes can be read"
