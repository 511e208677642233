"""The seed tasks that are shipped."""

from __future__ import annotations

from evolgen.curate.filters.selection import select
from evolgen.curate.rouge_l import f1
from evolgen.curate.tokens import rouge_tokens, unicode_tokens
from evolgen.formats.texts import texts_of
from tests.conftest import ROOT, rows

TASKS = rows(ROOT / "examples" / "seed_tasks.jsonl")


def test_they_have_the_shape_and_the_mixture_of_the_original() -> None:
    assert [task["id"] for task in TASKS] == [f"seed_task_{number}" for number in range(175)]
    assert len({task["name"] for task in TASKS}) == 175
    assert sum(task["is_classification"] for task in TASKS) == 26
    assert sum(not task["instances"][0]["input"] for task in TASKS) == 50
    for task in TASKS:
        assert list(task) == ["id", "name", "instruction", "instances", "is_classification"]
        assert all(list(each) == ["input", "output"] for each in task["instances"])


def test_none_breaks_a_rule() -> None:
    judge = select(["self-instruct", "alpaca", "clean"]).judge
    assert [(task["id"], complaint) for task in TASKS if (complaint := judge(texts_of(task)))] == []


def test_none_is_near_another() -> None:
    """Pair by pair, with the longest common subsequence by the book."""
    for tokenizer in (unicode_tokens, rouge_tokens):
        texts = [tokenizer(task["instruction"]) for task in TASKS]
        near = [
            (one, other)
            for one in range(len(texts))
            for other in range(one)
            if f1(max(1, common(texts[one], texts[other])), len(texts[one]), len(texts[other])) > 0.7
        ]
        assert near == []


def common(one: list[str], other: list[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for token in one:
        before = row[:]
        for at, against in enumerate(other, start=1):
            row[at] = before[at - 1] + 1 if token == against else max(before[at], row[at - 1])
    return row[-1]


def test_first_words_vary() -> None:
    first = [task["instruction"].split()[0].lower() for task in TASKS]
    assert max(first.count(word) for word in first) <= 12
    assert len(set(first)) > 75
