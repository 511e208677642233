"""ROUGE-L against everything that was kept, exactly as if each pair were compared, without comparing each pair.

Self-Instruct (Wang et al. 2022, section 2.2) keeps an instruction if its ROUGE-L F1 to every kept one is at most 0.7.
For texts of m and n tokens with a longest common subsequence of l tokens, F1 = 2pr/(p + r) with p = l/n and r = l/m.
So a pair above the threshold needs an l that follows from m and n, and it shares at least l tokens, counted as a
multiset. Shared tokens are counted exactly for all kept texts at once: rare tokens by merging their posting lists, the
64 most frequent ones, whose lists would be long, as bits of one machine word. The longest common subsequence itself is
taken for the few pairs that share enough.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evolgen.curate.neighbour import Neighbour
from evolgen.curate.tokens import Tokenizer, unicode_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FREQUENT = 64
"""Tokens that are kept as bits instead of posting lists; a machine word."""

FIRST_CHOICE = 256
"""Kept texts after which the frequent tokens are chosen, and again whenever their number has doubled."""

LAST_CHARACTER = 0x10FFFF
"""Tokens are kept as the characters of a string, which rapidfuzz compares fastest, while there are enough of them."""

CACHED_LENGTHS = 4096
"""Bounds of longer texts are worked out when needed: they take as much memory as the texts."""

INFEASIBLE = 2**31 - 1


class RougeLIndex:
    """The kept texts, and which of them is nearest to a new one.

    `nearest` and `add` take a text each; positions count the texts added, from 0. Texts without a token are near
    to nothing. Memory: about 8 bytes a token. `threshold` lies between 0 and 1, both excluded.
    """

    def __init__(self, threshold: float = 0.7, tokenizer: Tokenizer = unicode_tokens) -> None:
        self._threshold = threshold
        self._tokenizer = tokenizer
        self._known = 0
        self._ids: dict[str, int] = defaultdict(self._next_id)
        self._repeats: dict[tuple[int, int], int] = defaultdict(self._next_id)
        self._postings: dict[int, array[int]] = {}
        self._texts: list[Sequence[Any]] = []
        self._lengths: array[int] = array("i")
        self._bits: dict[int, int] = {}
        self._masks: array[int] = array("Q")
        self._next_choice = FIRST_CHOICE
        self._bounds: dict[int, _Bounds] = {}
        self._last: tuple[str, _Entry] | None = None

    def __len__(self) -> int:
        return len(self._texts)

    def nearest(self, text: str) -> Neighbour | None:
        """The kept text with the highest F1 above the threshold, the earliest of equals; None if there is none."""
        import numpy as np
        from rapidfuzz.distance import LCSseq

        entry = self._encode(text)
        candidates = self._candidates(entry) if entry.elements and self._texts else None
        if candidates is None:
            return None
        pairs = zip(candidates.positions.tolist(), candidates.needs.tolist(), strict=True)
        texts = self._texts
        common = np.array([LCSseq.similarity(entry.text, texts[at], score_cutoff=need) for at, need in pairs])
        near = np.flatnonzero(common >= candidates.needs)
        if not len(near):
            return None
        scores = f1(common[near], len(entry.text), candidates.lengths[near])
        best = int(np.argmax(scores))
        return Neighbour(int(candidates.positions[near[best]]), float(scores[best]))

    def add(self, text: str) -> None:
        """Keep a text."""
        entry = self._encode(text)
        position = len(self._texts)
        self._texts.append(entry.text)
        self._lengths.append(len(entry.text))
        self._masks.append(self._mask(entry.elements)[0])
        for element in entry.elements:
            posting = self._postings.get(element)
            if posting is None:
                self._postings[element] = array("i", (position,))
            else:
                posting.append(position)
        if len(self._texts) == self._next_choice:
            self._next_choice *= 2
            self._choose_frequent()

    def _next_id(self) -> int:
        self._known += 1
        return self._known - 1

    def _encode(self, text: str) -> _Entry:
        """Tokens as numbers; the second "the" of a text is an element of its own, so that a multiset becomes a set."""
        if self._last is not None and self._last[0] == text:
            return self._last[1]
        ids = self._ids
        tokens = [ids[token] for token in self._tokenizer(text)]
        elements = set(tokens)
        if len(elements) < len(tokens):
            seen: dict[int, int] = {}
            for token in tokens:
                count = seen[token] = seen.get(token, 0) + 1
                if count > 1:
                    elements.add(self._repeats[token, count])
        entry = _Entry("".join(map(chr, tokens)) if self._known <= LAST_CHARACTER else tokens, elements)
        self._last = (text, entry)
        return entry

    def _candidates(self, entry: _Entry) -> _Candidates | None:
        """The kept texts that share as many tokens as their lengths call for, or None."""
        import numpy as np

        bounds = self._bounds_for(len(entry.text))
        bits, postings = self._bits, self._postings
        lists = [found for element in entry.elements if element not in bits and (found := postings.get(element))]
        mask, frequent = self._mask(entry.elements)
        if len(lists) + frequent < bounds.least:
            return None
        shared = np.bincount(np.frombuffer(b"".join(lists), np.int32), minlength=len(self._texts))
        positions = np.flatnonzero(shared >= bounds.least - frequent)
        shared = shared[positions] + np.bitwise_count(
            np.frombuffer(self._masks, np.uint64)[positions] & np.uint64(mask)
        )
        lengths = np.frombuffer(self._lengths, np.int32)[positions]
        needs = bounds.needs(lengths)
        enough = shared >= needs
        if not enough.any():
            return None
        return _Candidates(positions[enough], lengths[enough], needs[enough])

    def _mask(self, elements: set[int]) -> tuple[int, int]:
        """Which of the frequent elements are among these, as bits, and how many."""
        mask = 0
        for bit in map(self._bits.get, elements):
            if bit is not None:
                mask |= bit
        return mask, mask.bit_count()

    def _choose_frequent(self) -> None:
        import numpy as np

        longest = sorted(self._postings, key=lambda element: (-len(self._postings[element]), element))[:FREQUENT]
        self._bits = {element: 1 << bit for bit, element in enumerate(longest)}
        masks = np.zeros(len(self._texts), np.uint64)
        for element, bit in self._bits.items():
            masks[np.frombuffer(self._postings[element], np.int32)] |= np.uint64(bit)
        self._masks = array("Q", masks.tobytes())

    def _bounds_for(self, count: int) -> _Bounds:
        bounds = self._bounds.get(count)
        if bounds is None:
            bounds = _bounds(count, self._threshold)
            if len(bounds.needed) <= CACHED_LENGTHS:
                self._bounds[count] = bounds
        return bounds


class _Entry(NamedTuple):
    """A text as numbers: its tokens in order (as characters or a list), and the elements of its multiset."""

    text: Sequence[Any]
    elements: set[int]


class _Candidates(NamedTuple):
    """Kept texts that may be near: their positions (ascending), lengths, and the common tokens that each needs."""

    positions: NDArray[np.int64]
    lengths: NDArray[np.int32]
    needs: NDArray[np.int64]


class _Bounds(NamedTuple):
    """For a text of some length: the common tokens needed with a text of length `first` + i, and the least of all."""

    first: int
    needed: NDArray[np.int64]
    least: int

    def needs(self, lengths: NDArray[np.int32]) -> NDArray[np.int64]:
        """The common tokens needed with texts of these lengths; INFEASIBLE where no number is enough."""
        return self.needed.take(lengths - (self.first - 1), mode="clip")


def _bounds(count: int, threshold: float) -> _Bounds:
    import numpy as np

    reach = (2 - threshold) / threshold
    first = max(1, int(count / reach) - 1)
    lengths = np.arange(first, int(count * reach) + 2)
    middle = np.floor(threshold * (count + lengths) / 2).astype(np.int64)
    needed = middle + 2
    for common in (middle + 1, middle, middle - 1):  # rounding decides between neighbours: take the least
        above = (common > 0) & (f1(np.maximum(common, 1), count, lengths) > threshold)
        needed = np.where(above, common, needed)
    needed[needed > np.minimum(count, lengths)] = INFEASIBLE
    return _Bounds(first, np.concatenate(([INFEASIBLE], needed, [INFEASIBLE])), int(needed.min()))


def f1(common: Any, count: Any, other: Any) -> Any:
    """ROUGE-L F1 from the length of the common subsequence, in the very floating-point steps of rouge_score.

    Of numbers or arrays; `common` is at least 1. The steps matter: both of these are 0.7 on paper, and only one of
    them is above it.

    >>> f1(7, 10, 10), f1(7, 8, 12)
    (0.7, 0.7000000000000001)
    """
    precision, recall = common / other, common / count
    return 2 * precision * recall / (precision + recall)
