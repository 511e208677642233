"""Rows of tables: CSV in its dialects, and Parquet."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from evolgen.errors import UsageError
from evolgen.formats.opening import Opened

Cells: TypeAlias = tuple[int, Any, str | None]
"""The number of a row, its value, and why it can't be read (then the value is its raw text)."""

BATCH = 1000


def csv_rows(file: Opened, *, tab: bool, max_line: int) -> Iterator[Cells]:
    """The rows of a CSV file, numbered by their last line; raises UsageError for what makes it no table.

    Cells are parted by commas, by semicolons or by tabs, whichever the header has most of.
    """
    text = io.TextIOWrapper(file.stream, encoding="utf-8", errors="surrogateescape", newline="")
    lines = _Lines(text, file.name, max_line)
    csv.field_size_limit(max_line)
    start = text.readline(max_line + 1)
    lines.put_back(start)
    parted = "\t" if tab else max(",;\t", key=start.count)
    spaced = f"{parted} " in start
    reader = csv.reader(lines, delimiter=parted, strict=True, skipinitialspace=spaced)
    header = _header(next(reader, []), file.name)
    lines.taken()
    while True:
        began = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raw = lines.taken()
            if "unexpected end of data" in str(error):
                raise UsageError(f"{file.name}:{began}: a quote is opened and never closed") from error
            yield reader.line_num, _shown(raw), f"not CSV: {error}"
            continue
        raw = lines.taken()
        if any("\udc80" <= char <= "\udcff" for char in raw) and not raw.isascii():
            yield reader.line_num, _shown(raw), "the row is not valid UTF-8 (--encoding says another)"
        elif len(cells) > len(header):
            counts = f"it has {len(cells)} cells and the header {len(header)}"
            problem = f"{counts}: a cell that holds a {_NAMES[parted]} needs quotes"
            yield reader.line_num, _shown(raw), problem
        elif cells:
            yield reader.line_num, dict(zip(header, cells, strict=False)), None


_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


def parquet_rows(name: str) -> Iterator[Cells]:
    """The rows of a Parquet file; raises UsageError where pyarrow is not installed, or can't read it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(f"{name}: reading Parquet needs the parquet extra: pip install 'evolgen[parquet]'") from error
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(name).iter_batches(BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row, None
    except pyarrow.ArrowException as error:
        raise UsageError(f"{name}: not Parquet: {' '.join(str(error).split())[:200]}") from error


class _Lines:
    """The lines of a text on their way to a reader, and what it took of them since it was last asked."""

    def __init__(self, text: io.TextIOWrapper, name: str, max_line: int) -> None:
        self._text = text
        self._name = name
        self._max_line = max_line
        self._put_back: list[str] = []
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._put_back.pop() if self._put_back else self._text.readline(self._max_line + 1)
        if not line:
            raise StopIteration
        self._taken.append(line)
        if sum(map(len, self._taken)) > self._max_line:
            raise UsageError(f"{self._name}: no row ends within {self._max_line:,} bytes (--max-line)")
        return line

    def put_back(self, line: str) -> None:
        if line:
            self._put_back.append(line)

    def taken(self) -> str:
        taken, self._taken = "".join(self._taken), []
        return taken


def _header(cells: Iterable[str], name: str) -> list[str]:
    header = [cell.strip().removeprefix("\ufeff") for cell in cells]
    twice = [cell for cell, count in Counter(header).items() if count > 1 and cell]
    if twice:
        raise UsageError(f"{name}:1: the header names {twice[0]!r} twice")
    return header


def _shown(raw: str) -> str:
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").rstrip("\r\n")
