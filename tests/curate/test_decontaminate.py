"""Items of a benchmark are found in rows by the runs of tokens that they share."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolgen.curate.decontaminate import Benchmarks
from evolgen.records import Texts

ITEM = (
    "A train leaves the station at noon and travels sixty miles an hour; when does it reach the town ninety miles away?"
)


def words(count: int, name: str = "w") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def benchmarks(*items: str, **settings: float) -> Benchmarks:
    made = Benchmarks(**settings)  # type: ignore[arg-type]
    for number, item in enumerate(items, start=1):
        made.add(f"id{number}", f"bench.jsonl:{number}", item)
    return made


def test_an_item_word_for_word_in_any_field() -> None:
    bench = benchmarks("What is the capital of a country that nobody has ever seen before?", ITEM)
    for texts in (
        Texts(ITEM),
        Texts("Solve.", ITEM.upper()),
        Texts("Hi", "", f"I know one: {ITEM.replace(',', ' -')} Yes."),
    ):
        found = bench.find(texts)
        assert found is not None
        assert found.rule == "ngram_coverage"
        assert (found.match.id, found.match.source, found.match.score) == ("id2", "bench.jsonl:2", 1.0)
        assert found.match.text == ITEM[:200]
        assert "100% of the item at bench.jsonl:2" in found.reason
        assert "a train leaves the station" in found.reason
    assert bench.find(Texts("Hi", "", ITEM), "instruction") is None
    assert bench.find(Texts("Where do trains leave the station at noon?")) is None


@pytest.mark.parametrize(("shared", "hit"), [(20, False), (21, True), (40, True)])
def test_more_than_half_of_the_tokens(shared: int, hit: bool) -> None:
    item = words(40)
    # pieces of 10 or 11 tokens: each covers itself by 8-grams, and none is as long as a 13-gram
    pieces = [item[:10], item[11 : 11 + shared - 10] if shared <= 21 else item]
    row = " ".join(word for piece in pieces for word in (*piece, "x", "y"))
    found = benchmarks(" ".join(item)).find(Texts(row))
    assert (found is not None) is hit
    if found is not None:
        assert found.match.score == shared / 40 if shared <= 21 else found.match.score == 1


@pytest.mark.parametrize(("run", "rule"), [(12, None), (13, "ngram_exact"), (51, "ngram_coverage")])
def test_a_run_of_thirteen(run: int, rule: str | None) -> None:
    item = words(100)
    found = benchmarks(" ".join(item)).find(Texts(" ".join([*words(30, "x"), *item[20 : 20 + run], *words(5, "y")])))
    assert (None if found is None else found.rule) == rule
    if found is not None:
        assert " ".join(item[20:30]) in found.reason
        assert found.match.score == run / 100


def test_short_items_hit_only_the_same_question() -> None:
    bench = benchmarks("What is the capital of France?", "Yes")
    assert bench.short == 2
    found = bench.find(Texts("what is the CAPITAL of france"))
    assert found is not None
    assert (found.rule, found.match.score) == ("same_text", 1.0)
    assert bench.find(Texts("Tell me: what is the capital of France?")) is None
    assert bench.find(Texts("Is it so?", "", "Yes")) is None
    assert bench.find(Texts("What is the capital", "of France?")) is not None


def test_other_scripts() -> None:
    item = "多瑙河发源于德国黑森林流经十个国家最后注入黑海"
    assert benchmarks(item).find(Texts("问题：" + item + "。对吗？")) is not None
    assert benchmarks(item).find(Texts("多瑙河发源于德国")) is None


def test_the_item_covered_most_is_named_then_the_earliest() -> None:
    bench = benchmarks(" ".join(words(30)), " ".join(words(20)), " ".join(words(20)))
    found = bench.find(Texts(" ".join(words(20))))
    assert found is not None
    assert found.match.id == "id2"


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=20), min_size=1, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_coverage_is_that_of_brute_force(items: list[list[str]], data: st.DataObject) -> None:
    row = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
    count, coverage, exact = 3, 0.5, 6
    bench = benchmarks(*(" ".join(item) for item in items), ngram=count, coverage=coverage, exact_ngram=exact)
    shares = []
    for item in items:
        covered: set[int] = set()
        runs = 0
        for start in range(len(item) - count + 1):
            if any(item[start : start + count] == row[at : at + count] for at in range(len(row))):
                covered |= set(range(start, start + count))
        for start in range(len(item) - exact + 1):
            runs += any(item[start : start + exact] == row[at : at + exact] for at in range(len(row)))
        share = len(covered) / len(item)
        if share > coverage or runs:
            shares.append(share)
    found = bench.find(Texts(" ".join(row)))
    if found is None or found.rule == "same_text":
        assert shares == []
    else:
        assert found.match.score == max(shares)


def test_a_megabyte() -> None:
    draw = random.Random(0)
    text = " ".join(f"w{draw.randrange(9999)}" for _ in range(150_000))
    assert benchmarks(ITEM).find(Texts(text, "", f"{text} {ITEM} {text}")) is not None
