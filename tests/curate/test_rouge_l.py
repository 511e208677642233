"""The index decides as rouge_score does when it compares a text with every kept one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from evolgen.curate import rouge_l
from evolgen.curate.neighbour import Neighbour
from evolgen.curate.rouge_l import RougeLIndex
from evolgen.curate.tokens import TOKENIZERS, Tokenizer, rouge_tokens, unicode_tokens


def common_subsequence(a: list[str], b: list[str]) -> int:
    """The textbook's table."""
    row = [0] * (len(b) + 1)
    for token in a:
        before = row
        row = [0]
        for place, other in enumerate(b):
            row.append(before[place] + 1 if token == other else max(before[place + 1], row[place]))
    return row[-1]


def brute_force(texts: list[str], threshold: float, tokenizer: Tokenizer) -> list[Neighbour | None]:
    """Each text against every kept one, by the formula of rouge_score."""
    kept: list[list[str]] = []
    found: list[Neighbour | None] = []
    for text in texts:
        tokens = tokenizer(text)
        best: Neighbour | None = None
        for position, other in enumerate(kept):
            common = common_subsequence(other, tokens)
            if not common:
                continue
            precision, recall = common / len(tokens), common / len(other)
            score = 2 * precision * recall / (precision + recall)
            if score > threshold and (best is None or score > best.score):
                best = Neighbour(position, score)
        if best is None:
            kept.append(tokens)
        found.append(best)
    return found


def by_index(texts: list[str], threshold: float, tokenizer: Tokenizer = unicode_tokens) -> list[Neighbour | None]:
    index = RougeLIndex(threshold, tokenizer)
    found = []
    for text in texts:
        found.append(index.nearest(text))
        if found[-1] is None:
            index.add(text)
    return found


few_words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=24).map(" ".join)


@given(st.lists(few_words, max_size=30), st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.99]))
@settings(max_examples=150, deadline=None)
def test_decisions_are_those_of_brute_force(texts: list[str], threshold: float) -> None:
    assert by_index(texts, threshold) == brute_force(texts, threshold, unicode_tokens)


@pytest.mark.parametrize("frequent", [0, 3, 64])
@pytest.mark.parametrize("words", [12, 60, 1000])
def test_many_texts_with_near_copies(words: int, frequent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small and large vocabularies, with the frequent words chosen anew again and again."""
    monkeypatch.setattr(rouge_l, "FIRST_CHOICE", 4)
    monkeypatch.setattr(rouge_l, "FREQUENT", frequent)
    draw = random.Random(words)
    texts: list[str] = []
    for _ in range(150):
        if texts and draw.random() < 0.4:
            tokens = draw.choice(texts).split()
            for _ in range(draw.randrange(5)):
                tokens[draw.randrange(len(tokens))] = f"w{draw.randrange(words)}"
        else:
            tokens = [f"w{int(draw.paretovariate(0.6)) % words}" for _ in range(draw.randrange(1, 40))]
        texts.append(" ".join(tokens))
    found = by_index(texts, 0.7)
    assert found == brute_force(texts, 0.7, unicode_tokens)
    assert any(found)


def test_scores_are_those_of_rouge_score() -> None:
    """7 of 10 and 10 tokens is exactly 0.7 and kept, 7 of 8 and 12 is a hair above and dropped."""
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    draw = random.Random(1)
    exactly = 0
    for count in range(1, 41):
        for other in range(1, 41):
            common = min(count, other, round(0.7 * (count + other) / 2) + draw.randrange(-1, 2))
            a = " ".join([*(f"s{i}" for i in range(common)), *(f"a{i}" for i in range(count - common))])
            b = " ".join([*(f"b{i}" for i in range(other - common)), *(f"s{i}" for i in range(common))])
            score = scorer.score(a, b)["rougeL"].fmeasure
            exactly += score == pytest.approx(0.7, abs=1e-12)
            (_, found) = by_index([a, b], 0.7)
            assert found == (Neighbour(0, score) if score > 0.7 else None), (count, other, common)
    assert exactly > 5


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_the_original_tokens_are_those_of_rouge_score(text: str) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    assert rouge_tokens(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)
    if text.isascii():
        assert unicode_tokens(text) == rouge_tokens(text)


@pytest.mark.parametrize(
    ("a", "b", "near"),
    [
        ("写一首关于春天的诗", "写一首关于春天的诗。", True),
        ("写一首关于春天的诗", "解释量子力学的原理", False),
        ("اكتب قصيدة عن الربيع", "اُكتُب قصيدة عن الربيع", True),
        ("हिन्दी में एक कविता लिखो", "हिन्दी में एक कहानी लिखो", True),
        ("🙂🙂🙃", "🙂🙂🙃", True),
        ("Café", "cafe\u0301", True),
        ("", "", False),
        ("!!!", "!!!", False),
    ],
)
def test_other_scripts(a: str, b: str, near: bool) -> None:
    assert (by_index([a, b], 0.7)[1] is not None) is near


def test_the_original_tokenizer_knows_only_ascii() -> None:
    assert by_index(["写一首诗", "写一首诗"], 0.7, TOKENIZERS["rouge"]) == [None, None]


def test_the_nearest_is_the_one_with_the_highest_score_then_the_earliest() -> None:
    index = RougeLIndex()
    for text in ("one two three four five six", "one two three four five", "one two three four five"):
        index.add(text)
    assert index.nearest("one two three four five") == Neighbour(1, 1.0)
    assert len(index) == 3


def test_more_words_than_there_are_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge_l, "LAST_CHARACTER", 20)
    draw = random.Random(2)
    texts = [" ".join(f"w{draw.randrange(60)}" for _ in range(draw.randrange(1, 6))) for _ in range(300)]
    assert by_index(texts, 0.7) == brute_force(texts, 0.7, unicode_tokens)


def test_a_text_of_a_megabyte() -> None:
    draw = random.Random(3)
    words = [f"w{draw.randrange(20_000)}" for _ in range(150_000)]
    text = " ".join(words)
    assert len(text) > 800_000
    changed = " ".join(words[:1000] + words[1100:])
    first, second = by_index([text, changed], 0.7)
    assert first is None
    assert second is not None
    assert second.score > 0.99
