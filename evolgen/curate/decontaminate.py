"""Rows that hold items of a benchmark, found by the runs of tokens that they share.

Two rules, as in the field: an item is hit where more than half of its tokens are covered by 8-grams that the row has as
well (Tülu 3, Lambert et al. 2024, section 3.2), or where they share any 13-gram (GPT-3, Brown et al. 2020, appendix C).
Tokens are words in lower case without punctuation, characters in scripts without spaces. An item of fewer than 8 tokens
is hit only by a row whose question is that text.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from evolgen.curate.dedupe import compared_text
from evolgen.curate.tokens import unicode_tokens
from evolgen.records import MATCH_TEXT, Match, Texts

QUOTED = 120
"""How many characters of the overlap a reason quotes."""


class Item(NamedTuple):
    """An item of a benchmark: its id, FILE:LINE, text and tokens, and the hashes of its n-grams of both lengths."""

    id: str
    source: str
    text: str
    tokens: list[str]
    grams: list[int]
    runs: list[int]


class Contamination(NamedTuple):
    """What a row holds of a benchmark: the rule, a sentence, and the item with the share of it that is covered."""

    rule: str
    reason: str
    match: Match


class Benchmarks:
    """The items that no row may hold.

    Memory: some 200 bytes a token of the items. `short` counts the items of fewer tokens than an n-gram.
    """

    def __init__(self, *, ngram: int = 8, coverage: float = 0.5, exact_ngram: int = 13) -> None:
        self.short = 0
        self._ngram = ngram
        self._coverage = coverage
        self._exact_ngram = exact_ngram
        self._items: list[Item] = []
        self._by_gram: defaultdict[int, list[int]] = defaultdict(list)
        self._whole: dict[tuple[str, ...], int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, id: str, source: str, text: str) -> None:
        """Take an item in."""
        tokens = unicode_tokens(text)
        item = Item(id, source, text, tokens, _grams(tokens, self._ngram), _grams(tokens, self._exact_ngram))
        number = len(self._items)
        self._items.append(item)
        if item.tokens:
            self._whole.setdefault(tuple(item.tokens), number)
        self.short += len(item.tokens) < self._ngram
        for gram in set(_grams(tokens, self._shortest)):
            self._by_gram[gram].append(number)

    def find(self, texts: Texts, field: str = "all") -> Contamination | None:
        """The item that a row holds the most of, the earliest of equals, or None."""
        tokens = unicode_tokens(compared_text(texts, field))
        if not tokens:
            return None
        found = [self._by_gram[gram] for gram in set(_grams(tokens, self._shortest)) if gram in self._by_gram]
        grams, runs = set(_grams(tokens, self._ngram)), set(_grams(tokens, self._exact_ngram))
        hits = [self._compare(number, grams, runs) for number in sorted(set(itertools.chain.from_iterable(found)))]
        best = max((hit for hit in hits if hit is not None), key=lambda hit: hit.match.score, default=None)
        return best or self._same_question(texts)

    @property
    def _shortest(self) -> int:
        return min(self._ngram, self._exact_ngram)

    def _compare(self, number: int, grams: set[int], runs: set[int]) -> Contamination | None:
        """An item and the n-grams of a row, of both lengths."""
        item = self._items[number]
        covered = _covered(item.grams, grams, self._ngram)
        share = sum(covered) / len(item.tokens)
        if share > self._coverage:
            quote = _longest_run(item.tokens, covered)
            reason = f'{share:.0%} of the item at {item.source} is in it: "{quote}"'
            return Contamination("ngram_coverage", reason, _match(item, share))
        exact = _covered(item.runs, runs, self._exact_ngram)
        if any(exact):
            quote = _longest_run(item.tokens, exact)
            reason = f'it shares {self._exact_ngram} or more tokens in a row with the item at {item.source}: "{quote}"'
            return Contamination("ngram_exact", reason, _match(item, share))
        return None

    def _same_question(self, texts: Texts) -> Contamination | None:
        instruction, input = tuple(unicode_tokens(texts.instruction)), tuple(unicode_tokens(texts.input))
        for question in (instruction, input, instruction + input):
            number = self._whole.get(question)
            if number is not None:
                item = self._items[number]
                return Contamination("same_text", f"its question is the item at {item.source}", _match(item, 1.0))
        return None


def _grams(tokens: Sequence[str], count: int) -> list[int]:
    """The hashes (64 bits, of this process) of all n-grams, in order."""
    return list(map(hash, zip(*(tokens[start:] for start in range(count)), strict=False)))


def _covered(own: list[int], grams: set[int], count: int) -> list[bool]:
    """Which tokens of an item lie in an n-gram that is among these; `own` are the item's n-grams in order."""
    covered = [False] * (len(own) + count - 1)
    for start, gram in enumerate(own):
        if gram in grams:
            covered[start : start + count] = [True] * count
    return covered


def _longest_run(tokens: list[str], covered: list[bool]) -> str:
    """The longest stretch of covered tokens, the first of equals, cut to what a sentence can quote."""
    best = (0, 0)
    start = 0
    for end in range(len(covered) + 1):
        if end == len(covered) or not covered[end]:
            best = max(best, (start, end), key=lambda run: run[1] - run[0])
            start = end + 1
    text = " ".join(tokens[slice(*best)])
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def _match(item: Item, share: float) -> Match:
    return Match(id=item.id, source=item.source, text=item.text[:MATCH_TEXT], score=share)
