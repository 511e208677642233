"""Where lineages become output, in order: dedupe, `--keep last`, the target N, and the two files."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable
from typing import Literal, Protocol

from evolgen.curate.dedupe import ExactIndex
from evolgen.events import Committed, Observer
from evolgen.records import MATCH_TEXT, Match, Record, Seed, printable

DRY_WINDOW = 200
"""Candidates over which the yield is watched when a number of rows is wanted."""

ACCEPTED = "accepted"

DRY_YIELD = 0.01
"""Below this share of accepted rows in the window, more rows are out of reach."""


class Known(Protocol):
    """The rows so far, and which of them a further row repeats."""

    def find(self, row: Record) -> Match | None: ...

    def add(self, row: Record) -> None: ...


class KnownQuestions:
    """Questions by their folded text: an evolution must be new among rows and seeds, a seed's own row among rows."""

    def __init__(self, seeds: Iterable[Seed]) -> None:
        self._rows = ExactIndex()
        self._seeds = ExactIndex()
        for seed in seeds:
            self._seeds.add(seed, "seeds")

    def find(self, row: Record) -> Match | None:
        is_seed = row.provenance.round == 0
        return self._rows.find(row) or (None if is_seed else self._seeds.find(row))

    def add(self, row: Record) -> None:
        self._rows.add(row, "out")


class KnownAnswers:
    """Answers by what makes a row unique: the question's id, and which of its answers it is."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int]] = set()

    def find(self, row: Record) -> Match | None:
        if (row.id, row.provenance.sample) not in self._known:
            return None
        return Match(id=row.id, source="out", text=printable(row.instruction[:MATCH_TEXT]), score=1.0)

    def add(self, row: Record) -> None:
        self._known.add((row.id, row.provenance.sample))


class Rows(Protocol):
    """Where rows are written, accepted or rejected."""

    def write(self, row: Record) -> None: ...


class Committer:
    """Takes finished lineages in commit order and decides each row's fate; what it decides is final.

    Nothing here changes what is asked. A row that repeats one of the `known` is rejected. With `target`, `done` turns
    true with the row that makes it full, and rows after it are no candidates.
    """

    def __init__(
        self,
        output: Rows,
        observer: Observer,
        *,
        known: Known,
        keep: Literal["all", "last"] = "all",
        target: int | None = None,
    ) -> None:
        self.accepted = 0
        self._output = output
        self._observe = observer
        self._keep = keep
        self._target = target
        self._recent: deque[str] = deque(maxlen=DRY_WINDOW)
        self._known = known

    @property
    def done(self) -> bool:
        """Whether as many rows as wanted are accepted."""
        return self._target is not None and self.accepted >= self._target

    @property
    def dry(self) -> bool:
        """Whether hardly any of the last candidates was accepted."""
        return len(self._recent) == DRY_WINDOW and self._recent.count(ACCEPTED) < DRY_YIELD * DRY_WINDOW

    def recent_yield(self) -> Counter[str]:
        """What became of the last candidates, by rule."""
        return Counter(self._recent)

    def reject_input(self, rejects: Iterable[Record]) -> None:
        """Write the input rows that hold no seed; they say nothing about the yield."""
        for row in rejects:
            self._output.write(row)
            self._observe(Committed(row))

    def commit(self, lineage: list[Record]) -> None:
        """Write the rows of one lineage, in its rounds' order, until the target is reached."""
        before: tuple[str, ...] = ()
        for row in self._keep_last(lineage) if self._keep == "last" else lineage:
            if self.done:
                return
            requests = row.provenance.requests
            pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, requests, strict=False))
            shared = sum(1 for _ in pairs)  # tasks of one answer begin with the same request
            before = requests
            self._write(self._judge_novelty(row), len(requests) - shared)

    def _write(self, row: Record, answers: int) -> None:
        if row.rejection is None:
            self._known.add(row)
            self.accepted += 1
        self._recent.append(ACCEPTED if row.rejection is None else row.rejection.rule)
        self._output.write(row)
        self._observe(Committed(row, answers))

    def _judge_novelty(self, row: Record) -> Record:
        match = None if row.rejection is not None else self._known.find(row)
        if match is None:
            return row
        where = "a seed" if match.source == "seeds" else f"row {match.id}"
        return row.rejected("dedupe", "exact", f"the same instruction as {where}, after folding", match)

    def _keep_last(self, lineage: list[Record]) -> list[Record]:
        """All rows but the last new one of the evolutions turned down; the seed's own row stays as it is."""
        judged = [self._judge_novelty(row) for row in lineage]
        kept = [row for row in judged if row.rejection is None and row.provenance.round > 0]
        return [
            row.rejected("select", "superseded", f"round {kept[-1].provenance.round} of its lineage supersedes it")
            if row in kept[:-1]
            else row
            for row in judged
        ]
