"""Near duplicates by word n-grams: MinHash and LSH propose them (Broder 1997), the true Jaccard similarity decides.

A text is the set of its word n-grams. Two texts of Jaccard similarity s agree in one MinHash value with probability s,
so in all r values of at least one of b bands with probability 1 - (1 - s^r)^b. Texts that agree in a band are compared
by their sets, so the threshold means what it says; what LSH decides is only which pairs are looked at.

Most texts of most data sets are near to nothing, and that is known before anything is hashed into bands: of a text's
n-grams too many occur in no other text.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from evolgen.curate.neighbour import Neighbour
from evolgen.curate.tokens import Tokenizer, spaced_tokens, unicode_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
U = TypeVar("U")

PERMUTATIONS = 128
RECALL = 0.9995
"""The share of pairs just above the threshold that some band is to catch; more similar ones are caught more surely."""

BLOCK = 8192
"""Texts that are hashed at once: 13 bits of a sorting key."""

HASH_BITS = 64 - 13
"""What is left for an n-gram's hash. Two texts of 100 n-grams share one by chance once in 10^11 pairs."""

MOST_SEEN_BITS = 27
"""The tables of n-grams that were seen once and again have at most 2^27 places, one byte each."""

WORKERS = 2
"""Threads that hash blocks of texts while this one reads the next."""

SEED = 0x45564F4C
FACTOR = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Bands:
    """How MinHash values are cut into bands: `bands` of `rows` values each."""

    bands: int
    rows: int

    def chance(self, similarity: float) -> float:
        """The probability that a pair of this Jaccard similarity is looked at.

        >>> f"{Bands(14, 8).chance(0.7):.2f}", f"{Bands(32, 4).chance(0.7):.4f}"
        ('0.56', '0.9998')
        """
        return 1 - (1 - similarity**self.rows) ** self.bands


def derive_bands(threshold: float, permutations: int = PERMUTATIONS, bands: int | None = None) -> Bands:
    """The bands for a threshold: as many rows as `permutations` allow while pairs at the threshold are still caught.

    `bands` sets their number.

    >>> derive_bands(0.7), derive_bands(0.9), derive_bands(0.9, bands=8)
    (Bands(bands=32, rows=4), Bands(bands=16, rows=8), Bands(bands=8, rows=16))
    """
    if bands is not None:
        return Bands(bands, max(1, permutations // bands))
    choices = [Bands(permutations // rows, rows) for rows in range(permutations, 0, -1)]
    return next((choice for choice in choices if choice.chance(threshold) >= RECALL), choices[-1])


def near_by_minhash(
    texts: Iterable[str],
    *,
    fixed: int = 0,
    threshold: float = 0.7,
    ngram: int = 5,
    bands: Bands | None = None,
    tokenizer: Tokenizer = unicode_tokens,
) -> Iterator[Neighbour | None]:
    """For each text the nearest kept one before it with a Jaccard similarity above the threshold, or None: it is kept.

    The first `fixed` texts are kept whatever they are. A text of fewer than `ngram` words is one n-gram; a text
    without words is near to nothing. All texts are read before the first is decided. Memory: 8 bytes a word, and at
    most 256 MB for the tables of n-grams seen.
    """
    sets = _read(texts, ngram, tokenizer)
    active = _with_company(sets, threshold)
    groups = _group(_band_keys(sets, active, bands or derive_bands(threshold)), active, len(sets))
    for position, alone in enumerate(groups.alone.tolist()):
        found = None
        if not alone:
            if position >= fixed:
                found = _nearest(sets, groups.mates(position), position, threshold)
            if found is None:
                groups.keep(position)
        yield found


class _Sets:
    """Texts as sets of hashed n-grams: text i has `hashes[starts[i] : starts[i + 1]]`, ascending."""

    def __init__(self, hashes: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
        import numpy as np

        self.hashes = hashes
        self.starts = np.concatenate(([0], np.cumsum(counts)))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, texts: NDArray[np.int32]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """The n-grams of some texts one after the other, where each text's begin there, and how many they are."""
        import numpy as np

        starts = self.starts[texts]
        counts = self.starts[texts + 1] - starts
        edges = np.cumsum(counts) - counts
        return self.hashes[np.arange(counts.sum()) + np.repeat(starts - edges, counts)], edges, counts


def _read(texts: Iterable[str], ngram: int, tokenizer: Tokenizer) -> _Sets:
    import numpy as np

    texts = iter(texts)
    blocks = iter(lambda: spaced_tokens(itertools.islice(texts, BLOCK), tokenizer), b"")
    hashed = list(_side_by_side(functools.partial(_hash_block, ngram=ngram), blocks))
    return _Sets(*map(np.concatenate, zip(_hash_block(b"", ngram), *hashed, strict=True)))


def _side_by_side(work: Callable[[T], U], values: Iterable[T]) -> Iterator[U]:
    """`map` in a few threads, in order, and never far ahead: numpy lets them run side by side."""
    pending: deque[Future[U]] = deque()
    with ThreadPoolExecutor(WORKERS) as executor:
        for value in values:
            pending.append(executor.submit(work, value))
            if len(pending) > WORKERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _hash_block(block: bytes, ngram: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct n-grams of each text as hashes, ascending, and how many each text has.

    `block` holds each text's words between spaces, and a line end after each text.
    """
    import numpy as np

    words, lengths = _words(np.frombuffer(block, np.uint8))
    total = len(words)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(total)  # words to the text's end, this one included
    padded = np.concatenate((words, np.zeros(ngram, np.uint64)))
    grams = np.zeros(total, np.uint64)
    for place in range(ngram):
        factor = np.uint64(FACTOR ** (place + 1) % 2**64)
        grams += padded[place : place + total] * (left > place) * factor
    complete = (left >= ngram) | (left == np.repeat(lengths, lengths))  # a short text is one n-gram
    texts = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)[complete]
    keyed = (_mix(grams[complete]) >> np.uint64(64 - HASH_BITS)) | (texts << np.uint64(HASH_BITS))
    keyed.sort()
    keyed = keyed[np.concatenate(([True], keyed[1:] != keyed[:-1]))[: len(keyed)]]
    counts = np.bincount((keyed >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(lengths))
    return keyed & np.uint64(2**HASH_BITS - 1), counts


def _words(block: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hash of each word, and how many words each text has.

    A word's hash is a polynomial in its bytes, got from running sums over the whole block.
    """
    import numpy as np

    inside = block > ord(" ")
    starts = np.flatnonzero(inside & np.concatenate(([True], ~inside[:-1]))[: len(block)])
    ends = np.flatnonzero(inside & np.concatenate((~inside[1:], [True]))[: len(block)]) + 1
    powers, inverses = _powers(1 << len(block).bit_length())
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(block * powers[: len(block)], dtype=np.uint64)))
    hashes = _mix((sums[ends] - sums[starts]) * inverses[starts])
    breaks = np.flatnonzero(block == ord("\n"))
    return hashes, np.diff(np.searchsorted(starts, breaks), prepend=0)


@functools.lru_cache(maxsize=2)
def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers of an odd number modulo 2^64, and their inverses."""
    import numpy as np

    bases = (FACTOR, pow(FACTOR, -1, 2**64))
    powers, inverses = (np.cumprod(np.full(count, base, np.uint64), dtype=np.uint64) for base in bases)
    return powers, inverses


def _with_company(sets: _Sets, threshold: float) -> NDArray[np.int32]:
    """The texts, ascending, that may be near another: enough of their n-grams occur in other texts as well.

    N-grams that meet in the tables by chance only make it say "may be" more often.
    """
    import numpy as np

    bits = min(MOST_SEEN_BITS, max(16, (4 * len(sets.hashes)).bit_length()))
    once, again = np.zeros(2**bits, bool), np.zeros(2**bits, bool)
    chunks = [slice(start, start + 2**20) for start in range(0, len(sets.hashes), 2**20)]
    for chunk in chunks:
        places = np.sort(sets.hashes[chunk] >> np.uint64(HASH_BITS - bits))
        again[places[1:][places[1:] == places[:-1]]] = True
        again[places[once[places]]] = True
        once[places] = True
    del once
    shared = np.zeros(len(sets.hashes) + 1, np.int32)
    for chunk in chunks:
        shared[1:][chunk] = again[sets.hashes[chunk] >> np.uint64(HASH_BITS - bits)]
    np.cumsum(shared, out=shared)
    counts = np.diff(sets.starts)
    in_company = shared[sets.starts[1:]] - shared[sets.starts[:-1]]
    return np.flatnonzero((in_company > np.floor(threshold * counts)) & (counts > 0)).astype(np.int32)


def _band_keys(sets: _Sets, texts: NDArray[np.int32], bands: Bands) -> list[NDArray[np.uint32]]:
    """The key of each of these texts in each band."""
    import numpy as np

    factors = np.random.default_rng(SEED).integers(0, 2**31, (bands.bands, bands.rows), dtype=np.uint32) * 2 + 1

    def keys(block: NDArray[np.int32]) -> NDArray[np.uint32]:
        hashes, edges, _ = sets.of(block)
        short = (hashes >> np.uint64(HASH_BITS - 32)).astype(np.uint32)
        combined = np.zeros((bands.bands, len(block)), np.uint64)
        for band, row in itertools.product(range(bands.bands), range(bands.rows)):
            combined[band] = _mix(combined[band] ^ np.minimum.reduceat(short * factors[band, row], edges))
        return (combined >> np.uint64(32)).astype(np.uint32)

    blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
    found = list(_side_by_side(keys, blocks)) or [np.empty((bands.bands, 0), np.uint32)]
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection that scatters 64-bit numbers (the finalizer of SplitMix64)."""
    import numpy as np

    values = values + np.uint64(FACTOR)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class _Groups:
    """The texts that share a band's key with another one, and which of them are kept."""

    def __init__(self, members: NDArray[np.int32], sizes: NDArray[np.int64], texts: int) -> None:
        import numpy as np

        group_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        self._groups = group_of[np.argsort(members, kind="stable")]  # of each text, one text after the other
        memberships = np.bincount(members, minlength=texts)
        self.alone = memberships == 0
        self._edges = np.concatenate(([0], np.cumsum(memberships)))
        self._starts = np.cumsum(sizes) - sizes
        self._filled = np.zeros(len(sizes), np.int64)
        self._kept = members  # the kept members move to the front of their group

    def mates(self, text: int) -> NDArray[np.int32]:
        """The kept texts that share a group with this one, ascending."""
        import numpy as np

        groups = self._groups[self._edges[text] : self._edges[text + 1]]
        filled = self._filled[groups]
        spans = zip(self._starts[groups[filled > 0]].tolist(), filled[filled > 0].tolist(), strict=True)
        slices = [self._kept[start : start + count] for start, count in spans]
        return np.unique(np.concatenate(slices)) if slices else self._kept[:0]

    def keep(self, text: int) -> None:
        groups = self._groups[self._edges[text] : self._edges[text + 1]]
        self._kept[self._starts[groups] + self._filled[groups]] = text
        self._filled[groups] += 1


def _group(keys: Sequence[NDArray[np.uint32]], active: NDArray[np.int32], texts: int) -> _Groups:
    import numpy as np

    members, sizes = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    for column in keys if len(active) else ():
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        counts = np.diff(np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True]))))
        members.append(active[order[np.repeat(counts > 1, counts)]])
        sizes.append(counts[counts > 1])
    return _Groups(np.concatenate(members), np.concatenate(sizes), texts)


def _nearest(sets: _Sets, mates: NDArray[np.int32], text: int, threshold: float) -> Neighbour | None:
    """The mate of the highest Jaccard similarity above the threshold, the earliest of equals."""
    import numpy as np

    if not len(mates):
        return None
    own = sets.hashes[sets.starts[text] : sets.starts[text + 1]]
    theirs, edges, counts = sets.of(mates)
    shared = own.take(np.searchsorted(own, theirs), mode="clip") == theirs
    common = np.add.reduceat(shared, edges, dtype=np.int64)
    similarity = common / (len(own) + counts - common)
    best = int(np.argmax(similarity))
    if similarity[best] <= threshold:
        return None
    return Neighbour(int(mates[best]), float(similarity[best]))
