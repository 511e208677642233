"""Rows, each a line of JSON, -> the bytes of a file of some format; the ending of its name says which."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from evolgen.errors import UsageError
from evolgen.spool import Lines

LEVEL = 6
"""How hard gzip and zstd try; fixed, so that the same rows are the same bytes."""


class Writer(Protocol):
    """Takes rows one after the other; what it gives are the bytes of the file, in order."""

    def row(self, line: bytes) -> bytes:
        """The bytes for a further row, given as a line of JSON with its end."""

    def end(self) -> Iterator[bytes]:
        """The bytes that remain."""


class JsonLines:
    """A JSON object a line, as they come."""

    def row(self, line: bytes) -> bytes:
        return line

    def end(self) -> Iterator[bytes]:
        return iter(())


class JsonArray:
    """One array, a row a line."""

    def __init__(self) -> None:
        self._between = b"[\n"

    def row(self, line: bytes) -> bytes:
        between, self._between = self._between, b",\n"
        return between + line.strip()

    def end(self) -> Iterator[bytes]:
        yield b"[]\n" if self._between == b"[\n" else b"\n]\n"


class _AtOnce:
    """A table, whose columns are known when all rows are; until then they lie in a temporary file."""

    def __init__(self) -> None:
        self._lines = Lines()

    def row(self, line: bytes) -> bytes:
        self._lines.append(line)
        return b""

    def _rows(self) -> Iterator[dict[str, Any]]:
        for line in self._lines.after(0):
            row = json.loads(line)
            yield row if isinstance(row, dict) else {"instruction": row}


class Csv(_AtOnce):
    """A header and a line a row; what is no text is JSON in its cell."""

    def end(self) -> Iterator[bytes]:
        columns = _columns(self._rows())
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for cells in [columns] if columns else []:
            writer.writerow(cells)
        for row in self._rows():
            writer.writerow([_cell(row.get(name)) for name in columns])
            yield _taken(text)
        yield _taken(text)
        self._lines.close()


class Parquet(_AtOnce):
    """A table whose columns have the types of their values; one whose values differ in type holds texts, as in CSV."""

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise UsageError(f"-o {name}: it needs the parquet extra: pip install 'evolgen[parquet]'") from error
        self._arrow = pyarrow

    def end(self) -> Iterator[bytes]:
        rows = list(self._rows())
        columns = {name: self._column([row.get(name) for row in rows]) for name in _columns(rows)}
        file = io.BytesIO()
        self._arrow.parquet.write_table(self._arrow.table(columns), file)
        self._lines.close()
        yield file.getvalue()

    def _column(self, values: list[Any]) -> Any:
        try:
            column = self._arrow.array(values)
            if column.to_pylist() == values and "struct<>" not in str(column.type):  # which Parquet can't hold
                return column
        except (self._arrow.ArrowException, ValueError, OverflowError):
            pass  # of several types, or with what UTF-8 can't hold
        return self._arrow.array([None if value is None else _utf8(_cell(value)).decode() for value in values])


class Compressed:
    """Another format, compressed; neither a time nor a name stands in it."""

    def __init__(self, inner: Writer, compressor: Any) -> None:
        self._inner = inner
        self._compressor = compressor

    def row(self, line: bytes) -> bytes:
        return bytes(self._compressor.compress(self._inner.row(line)))

    def end(self) -> Iterator[bytes]:
        for piece in self._inner.end():
            yield self._compressor.compress(piece)
        yield self._compressor.flush()


def _gzip(name: str) -> Any:
    return zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)


def _zstd(name: str) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise UsageError(f"-o {name}: it needs the zstd extra: pip install 'evolgen[zstd]'") from error
    return zstandard.ZstdCompressor(level=LEVEL).compressobj()


WRITERS: dict[str, Callable[[str], Writer]] = {
    ".jsonl": lambda name: JsonLines(),
    ".ndjson": lambda name: JsonLines(),
    ".json": lambda name: JsonArray(),
    ".csv": lambda name: Csv(),
    ".parquet": Parquet,
}

COMPRESSORS: dict[str, Callable[[str], Any]] = {".gz": _gzip, ".zst": _zstd}


def writer_of(path: Path) -> Writer:
    """The writer for a file of some name; raises UsageError for a name that says nothing that can be written."""
    endings = [ending.lower() for ending in path.suffixes]
    compressor = COMPRESSORS.get(endings[-1]) if endings else None
    if compressor is not None:
        endings.pop()
    make = WRITERS.get(endings[-1]) if endings else None
    if make is None:
        known = ", ".join((*WRITERS, *(f".jsonl{ending}" for ending in COMPRESSORS)))
        raise UsageError(f"-o {path}: its name doesn't say what is to be written; let it end in one of {known}")
    writer = make(str(path))
    return writer if compressor is None else Compressed(writer, compressor(str(path)))


def stem_of(path: Path) -> str:
    """The name without what says the format: a.jsonl.gz and a.csv are both a."""
    name = path.name
    for endings in (COMPRESSORS, WRITERS):
        ending = Path(name).suffix
        if ending.lower() in endings and name != ending:
            name = name.removesuffix(ending)
    return name


def _columns(rows: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _taken(text: io.StringIO) -> bytes:
    taken = _utf8(text.getvalue())
    text.seek(0)
    text.truncate()
    return taken


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
