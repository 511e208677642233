"""Seeds, questions and texts are views of one reading: they agree on what a row says."""

from __future__ import annotations

from typing import Any

import pytest

from evolgen.formats.prompts import prompt_of
from evolgen.formats.seeds import instruction_of
from evolgen.formats.shapes import Unusable, read_row
from evolgen.formats.texts import texts_of


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
    ],
)
def test_the_views_of_a_single_question_agree(row: Any) -> None:
    texts, prompt = texts_of(row), prompt_of(row)
    assert (texts.instruction, texts.input) == instruction_of(row) == (prompt.instruction, prompt.input)
    assert prompt.messages is None
    assert (texts.instruction, texts.input, texts.output, texts.more) == read_row(row)[:4]


@pytest.mark.parametrize("beside", [{}, {"prompt": "Hi"}, {"text": "user: Hi"}, {"question": "?", "turns": []}])
def test_the_views_of_a_conversation_agree_whatever_stands_beside_it(beside: Any) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    row = {"messages": turns, **beside}
    assert instruction_of(row) == ("Hi", "")
    assert prompt_of(row).messages == (("user", "Hi"),)
    assert texts_of(row)[:3] == ("Hi", "", "Ho")


@pytest.mark.parametrize("row", [None, 5, [], {}, {"output": "x"}, {"instruction": ["x"]}])
def test_what_no_view_can_read(row: Any) -> None:
    for view in (texts_of, instruction_of, prompt_of):
        with pytest.raises(Unusable) as caught:
            view(row)
        assert caught.value.rule == "unknown_shape"
