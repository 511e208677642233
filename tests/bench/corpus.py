"""Instruction-like texts for the benchmarks: words as frequent as in real text, templates, and planted near copies.

`mixed` is half free text and half text behind the beginnings of 3,000 templates, the most frequent of which make up one
row in three hundred; `template` is nothing but 300 templates with 6 to 15 words put in between theirs, the most
frequent one row in six. One row in twenty is a near copy of an earlier one. A corpus is a function of its size, kind
and seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["mixed", "template"]

WORDS = 60_000
COPIES = 0.05


def corpus(rows: int, kind: Kind = "mixed", seed: int = 0) -> Iterator[str]:
    """Texts of about 30 words (mixed) or 28 (template)."""
    rng = np.random.default_rng(seed)
    words = _Words(rng)
    mixed = kind == "mixed"
    templates = [words.draw(int(rng.integers(*((4, 14) if mixed else (8, 26))))) for _ in range(3000 if mixed else 300)]
    frequency = np.cumsum(1 / (np.arange(1, len(templates) + 1) + (30 if mixed else 0)))
    frequency /= frequency[-1]
    recent: list[list[str]] = []
    for number in range(rows):
        if recent and rng.random() < COPIES:
            text = words.vary(recent[int(rng.integers(len(recent)))])
        elif not mixed or rng.random() < 0.5:
            text = list(templates[int(np.searchsorted(frequency, rng.random()))])
            if mixed:
                text += words.draw(int(rng.lognormal(2.9, 0.6)))
            else:
                for word in words.draw(int(rng.integers(6, 16))):
                    text.insert(int(rng.integers(len(text) + 1)), word)
        else:
            text = words.draw(max(3, int(rng.lognormal(3.25, 0.6))))
        if len(recent) < 100_000:
            recent.append(text)
        else:
            recent[number % 100_000] = text
        yield " ".join(text)


class _Words:
    """Made-up words, short ones more frequent, by the law of Zipf and Mandelbrot."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._words = _vocabulary(WORDS)
        weights = 1 / (np.arange(WORDS) + 3.7) ** 1.05
        self._cumulative: NDArray[np.float64] = np.cumsum(weights / weights.sum())

    def draw(self, count: int) -> list[str]:
        places = np.searchsorted(self._cumulative, self._rng.random(count))
        return [self._words[min(place, WORDS - 1)] for place in places.tolist()]

    def vary(self, text: list[str]) -> list[str]:
        """A near copy: up to a fifth of the words replaced, left out or put in."""
        text = list(text)
        for _ in range(int(self._rng.integers(0, max(2, len(text) // 5)))):
            place, kind = int(self._rng.integers(len(text))), self._rng.random()
            if kind < 0.4:
                text[place : place + 1] = self.draw(1)
            elif kind < 0.7 and len(text) > 3:
                del text[place]
            else:
                text[place:place] = self.draw(1)
        return text


def _vocabulary(size: int) -> list[str]:
    draw = random.Random(1)
    onsets = "b br c ch cl d dr f fl g gr h j k l m n p pl pr qu r s sh sl st t th tr v w".split()  # noqa: SIM905
    vowels, codas = "a e i o u ai ea ou io".split(), ["", "", "n", "r", "s", "t", "l", "nd", "st", "m"]  # noqa: SIM905
    words: dict[str, None] = {}
    while len(words) < size:
        syllables = 1 + (len(words) > 200) + (len(words) > 8000) + (draw.random() < 0.3)
        words["".join(draw.choice(onsets) + draw.choice(vowels) + draw.choice(codas) for _ in range(syllables))] = None
    return list(words)
