"""Finding rows that say what another row says already: one method after the other, and which rows stay.

A method is a function from texts to what is found for each: `Neighbour`, the kept text before it that it is near to, or
None, and it is kept itself.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from evolgen.curate.neighbour import Neighbour
from evolgen.curate.rouge_l import RougeLIndex
from evolgen.curate.tokens import Tokenizer
from evolgen.parsing import fold
from evolgen.records import MATCH_TEXT, Match, Record, Seed, Texts
from evolgen.spool import Spool

FINGERPRINT = 16
"""Bytes of a fingerprint."""

FIELD_END = "\x00"
"""Between the fields of a row that are compared as one text; no tokenizer takes it for a part of a word."""


def compared_text(texts: Texts, field: str | None = None) -> str:
    r"""What is compared of a row: instruction and input, or one field, or all.

    >>> compared_text(Texts("Add. ", "1 2", "3")), compared_text(Texts("Add.", "1 2", "3"), "output")
    ('Add.\x001 2', '3')
    """
    if field == "output":
        return (texts.output or "").strip()
    if field in ("instruction", "input"):
        return (texts.instruction if field == "instruction" else texts.input).strip()
    question = f"{texts.instruction.strip()}{FIELD_END}{texts.input.strip()}"
    if field == "all":
        others = [texts.output or "", *(text or "" for instance in texts.more for text in instance)]
        others += [*texts.context, *texts.refused]
        return FIELD_END.join([question, *(text.strip() for text in others)])
    return question


class ExactIndex:
    """The instructions met so far, found again by their folded text (instruction + input).

    In memory an entry is a digest and an address, some 150 bytes whatever the text's length; what a rejection
    would quote of it lies in a spool.
    """

    def __init__(self) -> None:
        self._addresses: dict[bytes, int] = {}
        self._matches: Spool[tuple[str, str, str]] = Spool()

    def add(self, row: Record | Seed, source: str) -> None:
        """Take a row in; the first of equal rows stays the one that later rows match."""
        digest = _question_mark(row)
        if digest not in self._addresses:
            entry = (row.id, source, row.instruction[:MATCH_TEXT])
            self._addresses[digest] = self._matches.append(entry)

    def find(self, row: Record | Seed) -> Match | None:
        """The row that this one repeats, or None. Looks up one digest."""
        address = self._addresses.get(_question_mark(row))
        if address is None:
            return None
        id, source, text = self._matches[address]
        return Match(id=id, source=source, text=text, score=1.0)


def _question_mark(row: Record | Seed) -> bytes:
    """The fingerprint of a question, with what was said before it."""
    if isinstance(row, Seed):
        before = [text for _, text in row.before]
    else:
        turns = list(row.messages or ())
        while turns and turns.pop().role != "user":
            pass
        before = [turn.content for turn in turns]
    return fingerprint(FIELD_END.join([compared_text(Texts(row.instruction, row.input)), *before]))


def fingerprint(text: str) -> bytes:
    """16 bytes that are equal for texts that are equal after folding: NFKC, case, white space."""
    return hashlib.blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT).digest()


def near_by_exact(fingerprints: Iterable[bytes], *, fixed: int = 0) -> Iterator[Neighbour | None]:
    """For each text, given by its fingerprint, the first equal one before it.

    The first `fixed` texts are kept whatever they are. Memory: some 150 bytes a text that is kept.
    """
    positions: dict[bytes, int] = {}
    for position, mark in enumerate(fingerprints):
        first = positions.setdefault(mark, position)
        yield None if first == position or position < fixed else Neighbour(first, 1.0)


def near_by_rouge_l(
    texts: Iterable[str], *, fixed: int = 0, threshold: float, tokenizer: Tokenizer
) -> Iterator[Neighbour | None]:
    """For each text the kept one before it with the highest ROUGE-L F1 above the threshold.

    The first `fixed` texts are kept whatever they are. For memory see RougeLIndex.
    """
    index = RougeLIndex(threshold, tokenizer)
    kept = array("q")
    for position, text in enumerate(texts):
        found = None if position < fixed else index.nearest(text)
        if found is None:
            index.add(text)
            kept.append(position)
            yield None
        else:
            yield Neighbour(kept[found.position], found.score)


V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


class Method(Protocol[V_contra]):
    """A way of being near, with its settings: what it compares, in the order in which rows are kept or not."""

    def __call__(self, compared: Iterable[V_contra], /, *, fixed: int) -> Iterator[Neighbour | None]: ...


class Duplicate(NamedTuple):
    """Why a row goes: the method that found it, and the row that it is near to."""

    method: str
    neighbour: Neighbour


class Duplicates:
    """What became of rows, by position; memory is 17 bytes a row."""

    def __init__(self, rows: int) -> None:
        self._methods = array("b", b"\xff" * rows)
        self._positions = array("q", bytes(8 * rows))
        self._scores = array("d", bytes(8 * rows))
        self._names: list[str] = []

    def __getitem__(self, position: int) -> Duplicate | None:
        method = self._methods[position]
        if method < 0:
            return None
        return Duplicate(self._names[method], Neighbour(self._positions[position], self._scores[position]))

    def run(self, name: str, method: Method[V], compared: Callable[[int], V], order: Iterable[int], fixed: int) -> None:
        """Have a method decide on the rows that are still there, in `order`; the first `fixed` of it always stay.

        `compared` gives what the method compares of the row at a position.
        """
        if name not in self._names:
            self._names.append(name)
        alive = array("q", (position for position in order if self._methods[position] < 0))
        # the fixed rows are never dropped, so they stay the first
        for position, found in zip(alive, method(map(compared, alive), fixed=fixed), strict=True):
            if found is not None:
                self._methods[position] = self._names.index(name)
                self._positions[position] = alive[found.position]
                self._scores[position] = found.score
