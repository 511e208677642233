"""Raw rows -> what a run works on, by position, and a rejected record for each row that holds nothing of the kind."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from evolgen.config.reading import Reading
from evolgen.errors import UsageError
from evolgen.formats.mapping import mapped
from evolgen.formats.rows import RawRow, read_rows
from evolgen.formats.shapes import Unusable
from evolgen.records import Provenance, Record, Rejection, printable, record_id
from evolgen.spool import Spool

T = TypeVar("T")


class Inputs(Sequence[T], Generic[T]):
    """What a run works on, by position; it lies in a spool, so that memory holds an address for each.

    `read` makes it of a row's value, or raises Unusable.
    """

    def __init__(
        self, rows: Iterable[RawRow], read: Callable[[Any], T], pipeline: str, *, strict: bool = False
    ) -> None:
        """Read all rows; raises UsageError if none is usable, or, if `strict`, at the first unusable one."""
        self._spool: Spool[T] = Spool()
        self._rejects: Spool[Record] = Spool()
        self._addresses = array("Q")
        self._reject_addresses = array("Q")
        for row in rows:
            try:
                value = viewed(row, read, fatal="--strict" if strict else None)
            except Unusable as problem:
                reject = _input_reject(row, problem, pipeline)
                self._reject_addresses.append(self._rejects.append(reject))
                continue
            self._addresses.append(self._spool.append(value))
        if not self._addresses:
            first = next(self.rejects(), None)
            why = first.rejection.reason if first and first.rejection else "it is empty"
            raise UsageError(f"the input holds no usable instruction: {why}")

    def __len__(self) -> int:
        return len(self._addresses)

    def __getitem__(self, position: Any) -> Any:
        return self._spool[self._addresses[position]]

    def rejects(self) -> Iterator[Record]:
        """The rows that hold nothing usable, as rejected records of stage `input`."""
        return (self._rejects[address] for address in self._reject_addresses)


def _input_reject(row: RawRow, problem: Unusable, pipeline: str) -> Record:
    id = record_id("", "")
    raw = row.value if isinstance(row.value, str) else json.dumps(row.value, ensure_ascii=False)
    return Record(
        id=id,
        instruction="",
        input="",
        output="",
        provenance=Provenance(pipeline=pipeline, operator="seed", round=0, root=id),
        rejection=input_rejection(row, problem).model_copy(update={"raw": printable(raw)}),
    )


def viewed(row: RawRow, view: Callable[[Any], T], fatal: str | None = None) -> T:
    """What a view makes of a row; raises Unusable, or UsageError with the flag that makes that `fatal`."""
    try:
        if row.problem is not None:
            raise Unusable("unreadable", row.problem)
        return view(row.value if row.mapped is None else row.mapped)
    except Unusable as problem:
        if fatal:
            raise UsageError(f"{fatal}: {row.place}: {problem}") from problem
        raise


def input_rejection(row: RawRow, problem: Unusable) -> Rejection:
    """The rejection of a row that says nothing; it quotes what could not be read at all."""
    raw = None if row.problem is None else printable(row.value)
    return Rejection(stage="input", rule=problem.rule, reason=printable(f"{row.place}: {problem}"), raw=raw)


def source_rows(
    sources: Iterable[str | Path | dict[str, Any]], setting: str, reading: Reading | None = None
) -> Iterator[RawRow]:
    """The rows of all sources of a setting: files, `-`, or rows given in place, which are called by its name."""
    for number, source in enumerate(sources, start=1):
        given = isinstance(source, dict)
        rows = iter([RawRow(f"{setting}[{number}]", source)]) if given else read_rows(str(source), reading)
        if reading is None or not reading.map:
            yield from rows
        else:
            yield from (row._replace(mapped=mapped(row.value, reading.map)) for row in rows)
