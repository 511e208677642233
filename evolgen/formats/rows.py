"""Files -> raw rows: JSONL, JSON arrays, CSV and plain text, also gzipped, or standard input."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from pydantic_core import from_json

from evolgen.errors import UsageError
from evolgen.records import Rejection

LONGEST_FIELD = 2**27
"""Bytes that a field of a CSV file may have; the csv module's own limit is 128 kB."""


class RawRow(NamedTuple):
    """One row as it was read, and where: `place` is FILE:LINE (FILE:ROW in a JSON array).

    `problem` says why it could not be read, and `value` is then its raw text. `line` is the row's line in a JSONL file,
    without the line feed.
    """

    place: str
    value: Any
    problem: str | None = None
    line: bytes | None = None

    def as_line(self) -> bytes:
        """The row as a line of a JSONL file, byte for byte as it came where it came from one."""
        if self.line is not None:
            return self.line
        return _dumped(self.value)

    def as_rejected(self, rejection: Rejection) -> bytes:
        """The row as a line with `rejection` added, everything else as it came; only that where it was unreadable."""
        reason = rejection.model_dump_json(exclude_none=True).encode()
        if self.problem is not None:
            return b'{"rejection": ' + reason + b"}"
        line = self.as_line().strip()
        if not isinstance(self.value, dict) or "rejection" in self.value:
            row = dict(self.value) if isinstance(self.value, dict) else {"instruction": self.value}
            row.pop("rejection", None)
            line = _dumped(row)
        return line[:-1] + (b"" if line[1:-1].isspace() or line == b"{}" else b", ") + b'"rejection": ' + reason + b"}"


def check_readable(sources: Iterable[Any]) -> None:
    """Raise UsageError, as `read_rows` would, for the first of some files that can't be opened."""
    for source in sources:
        if not isinstance(source, dict) and str(source) != "-":
            try:
                Path(source).open("rb").close()
            except OSError as error:
                raise UsageError(f"{source}: it can't be read: {error.strerror or error}") from error


def read_rows(source: str) -> Iterator[RawRow]:
    """The rows of a file, or of standard input for `-`; raises UsageError if it can't be read at all.

    The name decides the format (.jsonl, .json, .csv, else text, each with or without .gz). Standard input
    is JSONL if it begins with a brace, a JSON array if with a bracket, else text.
    """
    if source == "-":
        yield from _sniffed(sys.stdin.buffer)
        return
    path = Path(source)
    try:
        with path.open("rb") as file:
            yield from _read(path, file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{source}: it can't be read: {reason}") from error


def _read(path: Path, file: IO[bytes]) -> Iterator[RawRow]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        file, suffixes = cast(IO[bytes], gzip.GzipFile(fileobj=file)), suffixes[:-1]
    kind = suffixes[-1] if suffixes else ""
    if kind in (".jsonl", ".ndjson"):
        yield from _jsonl(str(path), file)
    elif kind == ".json":
        yield from _json(str(path), file.read())
    elif kind == ".csv":
        yield from _csv(str(path), file)
    else:
        yield from _text(str(path), file)


def _sniffed(stream: IO[bytes]) -> Iterator[RawRow]:
    data = stream.read()
    start = data.lstrip()[:1]
    if start == b"[":
        yield from _json("stdin", data)
    elif start == b"{":
        yield from _jsonl("stdin", io.BytesIO(data))
    else:
        yield from _text("stdin", io.BytesIO(data))


def _jsonl(name: str, file: Iterable[bytes]) -> Iterator[RawRow]:
    for number, ended in enumerate(_lines(file), start=1):
        line = ended.removesuffix(b"\n") if number > 1 else ended.removesuffix(b"\n").removeprefix(codecs.BOM_UTF8)
        if not line or line.isspace():
            continue
        place = f"{name}:{number}"
        try:
            yield RawRow(place, loads(line), None, line)
        except UnicodeDecodeError as error:
            yield RawRow(place, _as_text(line), f"invalid UTF-8: {error.reason} at byte {error.start + 1}")
        except ValueError as error:
            yield RawRow(place, _as_text(line), f"not JSON: {error}")


def _lines(file: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a file; a gzip stream that breaks off must not look like its end."""
    try:
        yield from file
    except EOFError as error:
        raise OSError(str(error)) from error


def loads(text: bytes) -> Any:
    """JSON in UTF-8 -> a value; raises ValueError."""
    try:
        return from_json(text)
    except ValueError:
        pass  # what this fast reader can't read may be fine (a lone surrogate, a very long number), or is explained
    try:
        return json.loads(text.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _dumped(value: Any) -> bytes:
    """A value as JSON; a lone surrogate, which UTF-8 can't hold, becomes the escape that JSON has for it."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _json(name: str, data: bytes) -> Iterator[RawRow]:
    try:
        rows = loads(data)
    except ValueError as error:
        raise UsageError(f"{name}: not JSON: {error}") from error
    if isinstance(rows, dict):
        rows = [rows]
    if not isinstance(rows, list):
        raise UsageError(f"{name}: it must hold a list of rows")
    for number, row in enumerate(rows, start=1):
        yield RawRow(f"{name}:{number}", row)


def _csv(name: str, file: IO[bytes]) -> Iterator[RawRow]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.DictReader(text)
    try:
        for row in reader:
            place, fields = f"{name}:{reader.line_num}", {key: value for key, value in row.items() if key}
            broken = [
                value for value in fields.values() if value and any("\udc80" <= char <= "\udcff" for char in value)
            ]
            if broken:
                original = broken[0].encode("utf-8", "surrogateescape")
                yield RawRow(place, original.decode("utf-8", "backslashreplace"), "the row is not valid UTF-8")
            else:
                yield RawRow(place, fields)
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: not CSV: {error}") from error


def _text(name: str, file: Iterable[bytes]) -> Iterator[RawRow]:
    for number, line in enumerate(file, start=1):
        stripped = line.strip().removeprefix(codecs.BOM_UTF8)
        if not stripped:
            continue
        try:
            yield RawRow(f"{name}:{number}", stripped.decode())
        except UnicodeDecodeError as error:
            yield RawRow(f"{name}:{number}", _as_text(stripped), f"invalid UTF-8: {error.reason}")


def _as_text(line: bytes) -> str:
    return line.decode(errors="backslashreplace").rstrip()
