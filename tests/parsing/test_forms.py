"""Lists of tasks, read from whatever a teacher makes of them; nothing of an answer is lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolgen.parsing.forms import INSTANCES, INSTRUCTIONS, LABELLED, TASKS, Form
from evolgen.parsing.lists import Entry, Piece, Unread

FORMS = {"instructions": INSTRUCTIONS, "tasks": TASKS, "instances": INSTANCES, "labelled": LABELLED}

VOCABULARY = ["Rivers", "sort", "the", "list,", "COVID-19", "in", "2016", "naïve", "写", "'so'", "{a}", "[b]"]
WORDS = st.lists(st.sampled_from(VOCABULARY), min_size=1)
TEXT = WORDS.map(" ".join)


def entries(form: Form) -> st.SearchStrategy[list[Entry]]:
    return st.lists(st.tuples(*[TEXT] * len(form.fields)), min_size=1, max_size=6)


def readable(pieces: list[Piece]) -> list[Entry]:
    return [piece for piece in pieces if not isinstance(piece, Unread)]


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
def test_what_is_written_is_read(name: str, data: st.DataObject) -> None:
    form = FORMS[name]
    wanted = data.draw(entries(form))
    assert form.read(form.as_json(wanted)) == wanted
    assert form.read(form.as_text(wanted)) == wanted


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data(), cut=st.booleans())
def test_nothing_of_a_mangled_answer_is_lost(name: str, data: st.DataObject, cut: bool) -> None:
    """Cut anywhere, with rubbish put in anywhere: each word of it is in an entry or in an unread piece."""
    form = FORMS[name]
    write = data.draw(st.sampled_from([form.as_json, form.as_text]))
    answer = write(data.draw(entries(form)))
    answer = answer[: data.draw(st.integers(0, len(answer)))]
    at = data.draw(st.integers(0, len(answer)))
    rubbish = data.draw(
        st.sampled_from(["", "Sure! ", "\n\nHope this helps.\n", "###", "12. ", "\n```\n", '"', "Output:"])
    )
    answer = answer[:at] + rubbish + answer[at:]
    pieces = form.read(answer, cut=cut)
    kept = " ".join(text for piece in pieces for text in (piece[:1] if isinstance(piece, Unread) else piece))
    marks = {"Instruction", "Input", "Output", "Label", "Example", "noinput", "na", "json", *form.fields, form.name}
    lost = [
        word for word in re.findall(r"\w+", answer) if word not in kept and word not in marks and not word.isdigit()
    ]
    assert lost == []


def test_case_is_kept_and_a_year_is_no_number_of_a_list() -> None:
    """The original turned "COVID" into "covid" and stopped at the "16." of "2016."."""
    answer = (
        "9. Explain how COVID-19 spread.\n10. Sum up what happened in 2016.\n11. Compare 2015 with\n2016. Be brief."
    )
    assert INSTRUCTIONS.read(answer) == [
        ("Explain how COVID-19 spread.",),
        ("Sum up what happened in 2016.",),
        ("Compare 2015 with\n2016. Be brief.",),
    ]


@pytest.mark.parametrize(
    ("answer", "pieces"),
    [
        ("1) Name a river.\n2) Name a lake.", ["Name a river.", "Name a lake."]),
        ("**9.** Name a river.\n**10.** Name a lake.", ["Name a river.", "Name a lake."]),
        ("Task 9: Name a river.\nTask 10: Name a lake.", ["Name a river.", "Name a lake."]),
        ("Well:\n9. Name a river.", [Unread("Well:", "it stands before the first number"), "Name a river."]),
        ("9. Sort:\n1. b\n2. a\n10. Name a lake.", ["Sort:\n1. b\n2. a", "Name a lake."]),
        ("I can't do that.", [Unread("I can't do that.", "it has no number")]),
        ("9. Name a river.\n10.", ["Name a river.", Unread("10.", "its instruction is empty")]),
        ('```json\n{"tasks": ["Name a river."]}\n```', ["Name a river."]),
        ('["Name a river.", "Name a lake."]', ["Name a river.", "Name a lake."]),
        ('{"tasks": [{"instruction": "Name a river."}]}', ["Name a river."]),
        ('{"tasks": ["Name a river.", ""]}', ["Name a river.", Unread('""', "its instruction is empty")]),
        ('{"tasks": ["Name a river.", {"task": "x"}]}',
         ["Name a river.", Unread('{"task": "x"}', "it has no instruction")]),
        ('{"tasks": ["Name a river."]} Bye!', ["Name a river.", Unread("Bye!", "it stands after the list")]),
        ('{"tasks": ["Name a river.", "Name a la',
         ["Name a river.", Unread('"Name a la', "it breaks off, or is not JSON")]),
        ('{"tasks": ["Line\none"]}', ["Line\none"]),
        ('{"tasks": [' + "[" * 100_000, [Unread("[" * 100_000, "it breaks off, or is not JSON")]),
        ('{"tasks": []}', []),
        ("", []),
    ],
)  # fmt: skip
def test_instructions(answer: str, pieces: list[Any]) -> None:
    assert INSTRUCTIONS.read(answer) == [(each,) if isinstance(each, str) else each for each in pieces]


@pytest.mark.parametrize(
    ("answer", "pieces"),
    [
        ("###\n4. Instruction: Double it.\n4. Input:\n2\n4. Output:\n4\n###\n5. Instruction: Add.\n"
         "5. Input:\n<noinput>\n5. Output:\n7\n###", [("Double it.", "2", "4"), ("Add.", "", "7")]),
        ("Instruction: Say hi.\nOutput: Hi.\n\nInstruction: Name a lake.\nInput: N/A\nOutput: Como.",
         [("Say hi.", "", "Hi."), ("Name a lake.", "", "Como.")]),
        ("4. Instruction: Explain the form.\n4. Output:\nIt says\nInstruction: fill me in\nInput: here",
         [("Explain the form.", "", "It says\nInstruction: fill me in\nInput: here")]),
        ("4. Instruction: Wait", [Unread("4. Instruction: Wait", "it has no output")]),
        ("4. Instruction:\n4. Output: x", [Unread("4. Instruction:\n4. Output: x", "its instruction is empty")]),
        ("Well...\n###\n4. Instruction: Go on.\n4. Output: On.",
         [Unread("Well...", "it stands before the first instruction"), ("Go on.", "", "On.")]),
        ('{"tasks": [{"instruction": "Add.", "input": [1, 2], "output": 3}]}', [("Add.", "[1, 2]", "3")]),
        ('{"tasks": [{"instruction": "Add.", "output": "3", "why": "x"}]}',
         [Unread('{"instruction": "Add.", "output": "3", "why": "x"}', "it has a field that was not asked for: why")]),
        ("**Instruction:** Say hi.\n**Output:** Hi.", [("Say hi.", "", "Hi.")]),
    ],
)  # fmt: skip
def test_tasks(answer: str, pieces: list[Piece]) -> None:
    assert TASKS.read(answer) == pieces


@pytest.mark.parametrize(
    ("answer", "pieces"),
    [
        ("Input: 2\nOutput: 4\n\nInput: 3\nOutput: 6", [("2", "4"), ("3", "6")]),
        ("Example 1\nOutput: Hi.\n\nExample 2\nOutput: Ho.", [("", "Hi."), ("", "Ho.")]),
        ("Sentence: it rains.\nOutput: weather", [("Sentence: it rains.", "weather")]),
        ("The Danube.", [("", "The Danube.")]),
        ("Input: 2", [Unread("Input: 2", "it has no output")]),
        ("Example 1\nInput: none\nOutput: 4\nExample 2\n", [("", "4"), Unread("Example 2", "it is empty")]),
        ("Output:", [("", "")]),
    ],
)
def test_instances(answer: str, pieces: list[Piece]) -> None:
    assert INSTANCES.read(answer) == pieces


def test_labels_come_first() -> None:
    answer = "Class label: good\nInput: Fine day.\n\n**Label:** bad\nRain again.\nAll day.\nLabel:\nwhat?"
    assert LABELLED.read(answer) == [
        ("good", "Fine day."),
        ("bad", "Rain again.\nAll day."),
        Unread("Label:\nwhat?", "its label is empty"),
    ]


def test_of_a_cut_answer_the_last_entry_is_unread() -> None:
    pieces = INSTANCES.read("Input: 2\nOutput: 4\n\nInput: 3\nOutput: six and a ha", cut=True)
    assert pieces[0] == ("2", "4")
    assert isinstance(pieces[1], Unread)
    assert "six and a ha" in pieces[1].text
    whole = json.dumps({"instances": [{"input": "2", "output": "4"}]})
    assert readable(INSTANCES.read(whole[:-2], cut=True)) == [("2", "4")], "in JSON a closed entry is whole"


def test_schemas_are_what_strict_endpoints_take() -> None:
    schema = TASKS.schema(17)
    assert schema["properties"]["tasks"]["maxItems"] == 17
    entry = schema["properties"]["tasks"]["items"]
    assert entry["required"] == ["instruction", "input", "output"]
    assert entry["additionalProperties"] is schema["additionalProperties"] is False
