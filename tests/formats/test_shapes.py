"""Seeds, questions, texts and masks are views of one reading: they agree on what a row says."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolgen
from evolgen.formats.prompts import prompt_of
from evolgen.formats.seeds import instruction_of
from evolgen.formats.shapes import Spoken, Unusable, read_row
from evolgen.formats.texts import id_of, texts_of, with_texts


@pytest.mark.parametrize(
    "row",
    [
        "Name a river.",
        {"instruction": "Name a river.", "input": "In Asia.", "output": "Ob"},
        {"instruction": "Name a river.", "context": "In Asia.", "response": "Ob"},
        {"instruction": "Sort these.", "input": [3, 1, 2]},
        {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}, {"input": "2", "output": "2"}]},
        {"question": "Why?", "answer": None},
        {"prompt": "Name a river.", "completion": "Ob"},
        {"Problem": "Add 1 and 2.", "Solution": "3"},
        {"input": "Name a river.", "output": "Ob"},
        {"query": "Name a river.", "response": "Ob"},
        {"user": "Name a river.", "assistant": "Ob"},
        {"question": "Which is a river?", "options": {"a": "Ob", "b": "Ural"}, "answer": "a"},
    ],
)
def test_the_views_of_a_single_question_agree(row: Any) -> None:
    texts, prompt = texts_of(row), prompt_of(row)
    assert (texts.instruction, texts.input) == instruction_of(row) == (prompt.instruction, prompt.input)
    assert prompt.messages is None
    assert (texts.instruction, texts.input, texts.output, texts.more) == read_row(row)[:4]


TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"messages": TURNS, "prompt": "Hi"},
        {"messages": TURNS, "text": "Hi"},
        {"messages": TURNS, "question": "?", "turns": []},
        {"conversation": TURNS},
        {"dialog": TURNS},
        {"messages": {"user": "Hi", "assistant": "Ho"}},
        {"messages": json.dumps(TURNS)},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        *({"messages": [TURNS[0], {"role": role, "content": "Ho"}]} for role in ("Model", "bing", "claude", "bard")),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, TURNS[1]]},
        {"prompt": [TURNS[0]], "chosen": [TURNS[1]], "rejected": [{"role": "assistant", "content": "No"}]},
        {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No"}]},
        {"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Ho"}},
    ],
)  # fmt: skip
def test_the_views_of_a_conversation_agree_whatever_its_shape(row: Any) -> None:
    assert read_row(row).turns == (Spoken("user", "Hi"),)
    assert instruction_of(row) == ("Hi", "")
    assert prompt_of(row).messages == (("user", "Hi"),)
    assert texts_of(row)[:3] == ("Hi", "", "Ho")


def test_what_was_said_before_belongs_to_the_question() -> None:
    row = {
        "instruction": "And why?",
        "history": [["Is snow white?", "Yes."]],
        "system_prompt": "Be brief.",
        "output": "x",
    }
    expected = (("system", "Be brief."), ("user", "Is snow white?"), ("assistant", "Yes."), ("user", "And why?"))
    assert prompt_of(row).messages == expected
    assert texts_of(row).context == ("Be brief.", "Is snow white?", "Yes.")
    assert texts_of(row)[:3] == ("And why?", "", "x")
    chat = {"system": "Be brief.", "conversations": [{"from": "human", "value": "Hi"}]}
    assert prompt_of(chat).messages == (("system", "Be brief."), ("user", "Hi"))
    assert prompt_of({"messages": [{"role": "system", "content": "Own."}, *TURNS], "system": "Be"}).messages == (
        ("system", "Own."), ("user", "Hi"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"history": [["Is the sea salty?", "Yes."]]}, {"history": [["Is snow white?", "Yes."]]}),
        ({"system": "As a pirate."}, {"system": "In JSON."}),
        ({"choices": ["Po", "Etna"]}, {"choices": ["Mekong", "Everest"]}),
        ({"images": ["a.png"]}, {"images": ["b.png"]}),
        ({"image": {"url": "data:image/png;base64,AAAA"}}, {"image": {"url": "data:image/png;base64,BBBB"}}),
    ],
)
def test_what_belongs_to_a_question_makes_it_another_one(one: Any, other: Any) -> None:
    first, second, bare = [{"question": "Which is it?"} | more for more in (one, other, dict[str, Any]())]
    ids = {id_of(row, texts_of(row)) for row in (first, second, bare)}
    assert len(ids) == 3
    assert len({texts_of(row).context for row in (first, second, bare)}) == 3


def test_a_worse_answer_is_no_answer_and_is_seen_all_the_same() -> None:
    texts = texts_of({"prompt": "Hi", "chosen": "Ho", "rejected": "N/A"})
    assert (texts.output, texts.refused) == ("Ho", ("N/A",))


def test_images_are_kept_and_named() -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "http://x/a.png"}}]
    row = {"messages": [{"role": "user", "content": parts}]}
    assert texts_of(row).instruction == "What is it?\n[image: http://x/a.png]"
    assert with_texts(row, str.upper)["messages"][0]["content"][1] == parts[1]


@pytest.mark.parametrize("row", [None, 5, [], {}, {"output": "x"}, {"instruction": ["x"]}, {"title": "t", "body": "b"}])
def test_what_no_view_can_read(row: Any) -> None:
    for view in (texts_of, instruction_of, prompt_of):
        with pytest.raises(Unusable) as caught:
            view(row)
        assert caught.value.rule == "unknown_shape"
    if row == {"title": "t", "body": "b"}:
        assert "its fields: title, body" in str(caught.value)
        assert "--map instruction=FIELD" in str(caught.value)


WORDS = st.text("XYZ ", min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda each: st.lists(each) | st.dictionaries(st.text("xyz"), each),
)
KNOWN = st.sampled_from([
    "instruction", "prompt", "question", "text", "input", "context", "output", "response", "messages", "conversations",
    "role", "from", "content", "value", "system", "history", "choices", "images", "chosen", "rejected", "instances",
    "Answer", "type",
])  # fmt: skip
ROWS = st.recursive(
    JSON, lambda each: st.lists(each, max_size=3) | st.dictionaries(KNOWN, each, max_size=5), max_leaves=12
)


@given(ROWS)
@settings(max_examples=250, deadline=None)
def test_any_value_is_read_or_refused_and_what_is_masked_is_what_is_seen(row: Any) -> None:
    try:
        texts = texts_of(row)
    except Unusable:
        return
    changed: list[str] = []

    def change(text: str) -> str:
        changed.append(text)
        return text

    assert with_texts(row, change) == row or row != row  # noqa: PLR0124  # NaN is not itself
    for part in (texts.instruction, texts.input, texts.output or "", *texts.context, *texts.refused):
        for word in re.findall("[XYZ]+", re.sub(r"\[image: .*\]|\[[XYZ ]+\]", "", part)):
            assert any(word in text for text in changed), f"{part!r} is said, and no mask would find it: {row}"
    for view in (prompt_of, instruction_of):
        with contextlib.suppress(Unusable):
            view(row)


@given(st.lists(ROWS | st.dictionaries(KNOWN, WORDS, min_size=1), min_size=3, max_size=30))
@settings(max_examples=25, deadline=None)
def test_whatever_the_rows_no_command_fails_on_them(values: list[Any]) -> None:
    Path("in.jsonl").write_text(
        "".join(json.dumps(value) + "\n" for value in [*values, {"instruction": "Name a lake."}])
    )
    Path("bench.jsonl").write_text('{"instruction": "Name a river that is in no row."}\n')
    settings: dict[str, dict[str, Any]] = {
        "filter": {"preset": "clean,privacy", "rule": "email=mask"},
        "dedupe": {"method": "exact,minhash,rouge-l"},
        "decontaminate": {"against": "bench.jsonl"},
        "respond": {"script": lambda request: "The Po."},
        "evolve": {"script": lambda request: "Not Equal", "rounds": 1},
    }
    for command, more in settings.items():
        for name in ("out.jsonl", "out.csv"):
            summary = getattr(evolgen, command)("in.jsonl", out=name, force=True, **more)
            assert summary.accepted + summary.rejected == summary.candidates >= len(values) + 1
