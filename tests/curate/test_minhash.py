"""LSH proposes, the true Jaccard similarity decides."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolgen.curate import minhash
from evolgen.curate.minhash import Bands, derive_bands, near_by_minhash
from evolgen.curate.neighbour import Neighbour
from evolgen.curate.tokens import unicode_tokens


def ngrams(text: str, count: int) -> set[tuple[str, ...]]:
    tokens = unicode_tokens(text)
    if not tokens:
        return set()
    return {tuple(tokens[start : start + count]) for start in range(max(1, len(tokens) - count + 1))}


def brute_force(texts: list[str], threshold: float, count: int, fixed: int = 0) -> list[Neighbour | None]:
    kept: dict[int, set[tuple[str, ...]]] = {}
    found: list[Neighbour | None] = []
    for position, text in enumerate(texts):
        own, best = ngrams(text, count), None
        for other, theirs in kept.items() if own and position >= fixed else ():
            similarity = len(own & theirs) / len(own | theirs)
            if similarity > threshold and (best is None or similarity > best.score):
                best = Neighbour(other, similarity)
        if best is None:
            kept[position] = own
        found.append(best)
    return found


def many_texts(count: int, seed: int = 0, words: int = 400) -> list[str]:
    draw = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and draw.random() < 0.5:
            tokens = draw.choice(texts).split()
            for _ in range(draw.randrange(4)):
                tokens[draw.randrange(len(tokens))] = f"w{draw.randrange(words)}"
        else:
            tokens = [f"w{int(draw.paretovariate(0.5)) % words}" for _ in range(draw.randrange(1, 45))]
        texts.append(" ".join(tokens))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.slow
def test_what_true_jaccard_finds_is_found(threshold: float, count: int) -> None:
    texts = many_texts(1200, seed=count)
    found = list(near_by_minhash(texts, threshold=threshold, ngram=count))
    expected = brute_force(texts, threshold, count)
    to_drop = [position for position, neighbour in enumerate(expected) if neighbour is not None]
    missed = [position for position in to_drop if found[position] is None]
    assert len(to_drop) > 50
    assert len(missed) <= 0.01 * len(to_drop)
    kept = {position for position, neighbour in enumerate(found) if neighbour is None}
    for position, neighbour in enumerate(found):
        if neighbour is not None:  # whatever is dropped truly is near to something that is kept
            own, theirs = ngrams(texts[position], count), ngrams(texts[neighbour.position], count)
            assert neighbour.position in kept
            assert neighbour.score == len(own & theirs) / len(own | theirs) > threshold


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9).map(" ".join), max_size=25))
@settings(max_examples=60, deadline=None)
def test_small_words_against_brute_force(texts: list[str]) -> None:
    bands = Bands(128, 1)  # every pair that shares anything is looked at
    assert list(near_by_minhash(texts, threshold=0.5, ngram=2, bands=bands)) == brute_force(texts, 0.5, 2)


def test_texts_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*many_texts(300), "", "!!!", "写一首诗", "写一首诗", "naïve", *many_texts(300)]
    whole = list(near_by_minhash(texts, threshold=0.7))
    monkeypatch.setattr(minhash, "BLOCK", 7)
    assert list(near_by_minhash(texts, threshold=0.7)) == whole
    assert whole[303] == Neighbour(302, 1.0)
    assert whole[300:302] == [None, None]
    assert all(neighbour is not None for neighbour in whole[305:] if neighbour != whole[305])


def test_a_threshold_is_above() -> None:
    a, b = "one two three four five six seven", "one two three four five six eight"
    assert list(near_by_minhash([a, b], threshold=0.74, ngram=1)) == [None, Neighbour(0, 0.75)]
    assert list(near_by_minhash([a, b], threshold=0.75, ngram=1)) == [None, None]


def test_the_first_ones_may_be_fixed() -> None:
    text = "one two three four five six seven"
    assert list(near_by_minhash([text, text, text], fixed=2)) == [None, None, Neighbour(0, 1.0)]
    assert list(near_by_minhash([], fixed=0)) == []


def test_a_million_words_in_one_text() -> None:
    draw = random.Random(1)
    words = [f"w{draw.randrange(50_000)}" for _ in range(200_000)]
    changed = [*words[:100_000], *words[100_500:]]
    assert list(near_by_minhash([" ".join(words), " ".join(changed)]))[1] is not None


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.8, 0.9, 0.95])
def test_bands_follow_from_the_threshold(threshold: float) -> None:
    bands = derive_bands(threshold)
    assert bands.bands * bands.rows <= 128
    assert bands.chance(threshold) >= 0.999
    assert bands.chance(threshold / 3) < 0.5
