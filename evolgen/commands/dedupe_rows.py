"""All rows of `dedupe`, outside memory, and what becomes of each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from evolgen.commands.common import TOLD_EVERY
from evolgen.commands.curate import Curation
from evolgen.config.dedupe import DedupeConfig, DedupeMethod
from evolgen.curate.dedupe import (
    FIELD_END,
    FINGERPRINT,
    Duplicate,
    Duplicates,
    Method,
    compared_text,
    fingerprint,
    near_by_exact,
    near_by_rouge_l,
)
from evolgen.curate.minhash import derive_bands, near_by_minhash
from evolgen.curate.neighbour import Neighbour
from evolgen.curate.tokens import TOKENIZERS
from evolgen.errors import TeacherError
from evolgen.events import Notice
from evolgen.formats.mapping import mapped
from evolgen.formats.rows import RawRow, loads
from evolgen.formats.texts import id_of, texts_of
from evolgen.records import MATCH_TEXT, Match, Rejection, Texts, printable
from evolgen.spool import Lines, Spool

V = TypeVar("V")

CHEAPEST_FIRST: tuple[DedupeMethod, ...] = ("exact", "minhash", "rouge-l", "semantic")
THRESHOLDS: dict[DedupeMethod, float] = {"minhash": 0.7, "rouge-l": 0.7, "semantic": 0.9}
MEASURES = {"minhash": "Jaccard", "rouge-l": "ROUGE-L F1", "semantic": "cosine"}

PLACE_END = b"\x00"
"""Between a row's place and its line."""


class DedupeRows:
    """The rows of a dedupe by position: first those that stay whatever they are, then those of the input.

    Memory is some 60 bytes a row and what the methods need; `close` gives back what lies on disk.
    """

    def __init__(self, config: DedupeConfig, curation: Curation) -> None:
        self._config = config
        self._curation = curation
        self._field = config.field
        self._by_fingerprint = "exact" in config.method
        self._by_length = config.keep == "longest"
        self._by_text = config.method != ("exact",)
        self._looked_at = 0
        self._lines = Lines()
        self._texts = Lines()
        self._fingerprints = bytearray()
        self._lengths = array("q")
        self._weights = array("q")
        self._contexts: dict[int, bytes] = {}
        self._alone: set[int] = set()
        self._fixed = 0
        self._rejected: Spool[tuple[RawRow, Rejection]] = Spool()
        self._rejections: dict[int, int] = {}
        self._failed: dict[int, TeacherError] = {}
        self._facts: dict[str, Any] = {}
        self._found = Duplicates(0)
        self._match = lru_cache(4096)(self._make_match)

    def __len__(self) -> int:
        return len(self._lines) - self._fixed

    def add(self, row: RawRow, texts: Texts, *, fixed: bool = False) -> None:
        """Take a row in, with what it says; the fixed ones come first."""
        self._fixed += fixed
        text = compared_text(texts, self._field)
        if self._field is None and texts.context:
            self._contexts[len(self._lines)] = fingerprint(FIELD_END.join(texts.context))
        if not (texts.asked if self._field is None else text.strip(FIELD_END)):
            self._alone.add(len(self._lines))
        if self._by_length:
            self._weights.append(len(text) + len(texts.output or ""))
        self._lines.append(row.place.encode("utf-8", "surrogateescape") + PLACE_END + row.as_line())
        self._lengths.append(len(text.strip(FIELD_END)))
        if self._by_fingerprint:
            self._fingerprints += fingerprint(text)
        if self._by_text:
            self._texts.append(text.encode("utf-8", "surrogatepass"))

    def reject(self, row: RawRow, rejection: Rejection) -> None:
        """Take a row in that is no candidate for anything."""
        self._rejections[len(self._lines)] = self._rejected.append((row, rejection))
        self._lines.append(b"")
        self._texts.append(b"")
        self._lengths.append(0)
        self._weights.append(0)
        self._fingerprints += bytes(FINGERPRINT)

    def dedupe(self) -> None:
        """Run the methods, the cheapest first.

        Rows of different contexts are different questions, so each context's are compared among themselves. A row
        without anything to compare is like no other.
        """
        self._found = Duplicates(len(self._lines))
        left_out = self._rejections.keys() | self._alone
        order = array("q", (position for position in range(len(self._lines)) if position not in left_out))
        groups = self._groups_of(order)
        for name in CHEAPEST_FIRST:
            if name not in self._config.method:
                continue
            if name == "exact":
                self._facts[name] = {}
                self._run(name, near_by_exact, self._fingerprint, groups)
            elif name == "semantic":
                self._run_semantic(groups)
            else:
                self._looked_at = 0
                self._run(name, self._method(name), partial(self._told_text, name), groups)

    def _groups_of(self, order: array[int]) -> list[array[int]]:
        """The rows of each context, in the order in which they are kept or not: those that stay in any case first."""
        by_context: dict[bytes, array[int]] = {}
        if self._config.keep == "longest":
            fixed = sum(position < self._fixed for position in order)
            longest = sorted(order[fixed:], key=lambda position: (-self._weights[position], position))
            order = array("q", [*order[:fixed], *longest])
        if not self._contexts:
            return [order]
        for position in order:
            by_context.setdefault(self._contexts.get(position, b""), array("q")).append(position)
        return list(by_context.values())

    def _run(self, name: str, method: Method[V], compared: Callable[[int], V], groups: Iterable[Sequence[int]]) -> None:
        for group in groups:
            if len(group) > 1:
                fixed = sum(position < self._fixed for position in group)
                self._found.run(name, method, compared, group, fixed)

    def outcome(self) -> Iterator[tuple[RawRow, Rejection | None]]:
        """The rows of the input in their order, each with the reason why it goes, or None."""
        found, rejections, failed = self._found, self._rejections, self._failed
        for position, entry in enumerate(self._lines.after(self._fixed), start=self._fixed):
            if rejections and (address := rejections.get(position)) is not None:
                yield self._rejected[address]
            elif (duplicate := found[position]) is not None:
                yield _row(entry), self._rejection(duplicate)
            elif failed and (error := failed.get(position)) is not None:
                yield _row(entry), Rejection(stage="backend", rule=error.rule, reason=printable(str(error)))
            else:
                yield RawRow("", None, None, entry[entry.index(PLACE_END) + 1 :]), None

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the methods."""
        return {"methods": self._facts, "compared_with": self._fixed}

    def close(self) -> None:
        self._lines.close()
        self._texts.close()
        self._rejected.clear()

    def _method(self, name: DedupeMethod) -> Method[str]:
        config = self._config
        threshold, tokenizer = self._threshold(name), TOKENIZERS[config.tokenizer]
        self._facts[name] = {"threshold": threshold, "tokenizer": config.tokenizer}
        if name == "rouge-l":
            return partial(near_by_rouge_l, threshold=threshold, tokenizer=tokenizer)
        bands = derive_bands(threshold, config.permutations, config.bands)
        self._facts[name] |= {"ngram": config.ngram, "bands": bands.bands, "rows": bands.rows}
        self._facts[name] |= {"recall_at_threshold": round(bands.chance(threshold), 6)}
        return partial(near_by_minhash, threshold=threshold, ngram=config.ngram, bands=bands, tokenizer=tokenizer)

    def _run_semantic(self, groups: Sequence[Sequence[int]]) -> None:
        from evolgen.commands.embedding import embed_texts
        from evolgen.curate.semantic import near_by_vectors

        alive = [each for group in groups for each in group if self._found[each] is None and self._lengths[each]]
        texts = [self._text(position).replace(FIELD_END, "\n\n").strip() for position in alive]
        embedded = embed_texts(self._config, texts, self._curation)
        self._failed = {alive[number]: error for number, error in embedded.failed.items()}
        if missing := sum(position < self._fixed for position in self._failed):
            self._curation.watch(
                Notice(f"{missing} rows of --against have no embedding: nothing is compared with them")
            )
        threshold = self._threshold("semantic")
        self._facts["semantic"] = {"threshold": threshold, "dimensions": embedded.vectors.shape[1]}
        numbers = {position: number for number, position in enumerate(alive) if position not in self._failed}

        def near(compared: Iterable[int], *, fixed: int) -> Iterator[Neighbour | None]:
            vectors = embedded.vectors[list(compared)]
            for number, found in enumerate(near_by_vectors(vectors, fixed=fixed, threshold=threshold)):
                if not number % TOLD_EVERY:
                    self._curation.tell("semantic", number, len(vectors))
                yield found

        self._run(
            "semantic", near, numbers.__getitem__, [[each for each in group if each in numbers] for group in groups]
        )

    def _threshold(self, name: DedupeMethod) -> float:
        given = self._config.threshold
        return given.get(name, given.get("", THRESHOLDS[name]))

    def _fingerprint(self, position: int) -> bytes:
        return bytes(self._fingerprints[FINGERPRINT * position : FINGERPRINT * (position + 1)])

    def _text(self, position: int) -> str:
        return self._texts[position].decode("utf-8", "surrogatepass")

    def _told_text(self, name: str, position: int) -> str:
        self._looked_at += 1
        if not self._looked_at % TOLD_EVERY:
            self._curation.tell(name, self._looked_at, len(self._lines))
        return self._text(position)

    def _rejection(self, found: Duplicate) -> Rejection:
        match = self._match(found.neighbour.position).model_copy(update={"score": found.neighbour.score})
        other = f"row {match.id}" if match.source == "out" else f"the row at {match.source}"
        if found.method == "exact":
            reason = f"the same text as {other}, after folding"
        else:
            threshold = self._facts[found.method]["threshold"]
            measure = MEASURES[found.method]
            reason = f"near to {other}: {measure} {match.score:.4g} is above {threshold:g}"
        return Rejection(stage="dedupe", rule=found.method, reason=reason, match=match)

    def _make_match(self, position: int) -> Match:
        row = _row(self._lines[position])
        texts = texts_of(mapped(row.value, self._config.map))
        source = printable(row.place) if position < self._fixed else "out"
        return Match(id=id_of(row.value, texts), source=source, text=printable(texts.instruction[:MATCH_TEXT]), score=1)


def _row(entry: bytes) -> RawRow:
    place, _, line = entry.partition(PLACE_END)
    return RawRow(place.decode("utf-8", "surrogateescape"), loads(line), None, line)
