"""Files -> raw rows: JSONL, JSON arrays, CSV, plain text and Parquet, also compressed, or standard input."""

from __future__ import annotations

import codecs
import itertools
import json
import math
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from evolgen.config.reading import Reading
from evolgen.errors import UsageError
from evolgen.formats import tables
from evolgen.formats.opening import Opened, open_file, opened
from evolgen.formats.shapes import NESTED_KEYS
from evolgen.records import Rejection

PIECE = 2**20
"""Bytes of lines, or characters of a JSON array, that are read at once."""

NESTING = 200
"""How deep the lists and objects of a row may lie in each other."""

KINDS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonlines": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".tab": "tsv", ".txt": "text", ".text": "text", ".md": "text", ".parquet": "parquet",
}  # fmt: skip
"""What a file holds, by the ending of its name."""


class RawRow(NamedTuple):
    """One row as it was read, and where: `place` is FILE:LINE (FILE:ROW in a JSON array).

    `problem` says why it could not be read, and `value` is then its raw text. `line` is the row's line in a JSONL file,
    without the line feed. `mapped` is the value with its fields under the names that they were said to stand for.
    """

    place: str
    value: Any
    problem: str | None = None
    line: bytes | None = None
    mapped: Any = None

    def as_line(self) -> bytes:
        """The row as a line of a JSONL file, byte for byte as it came where it came from one."""
        if self.line is not None:
            return self.line
        return dumped(self.value)

    def as_rejected(self, rejection: Rejection) -> bytes:
        """The row as a line with `rejection` added, everything else as it came; only that where it was unreadable."""
        reason = rejection.model_dump_json(exclude_none=True).encode()
        if self.problem is not None:
            return b'{"rejection": ' + reason + b"}"
        line = self.as_line().strip()
        if not isinstance(self.value, dict) or "rejection" in self.value:
            row = dict(self.value) if isinstance(self.value, dict) else {"instruction": self.value}
            row.pop("rejection", None)
            line = dumped(row)
        return line[:-1] + (b"" if line[1:-1].isspace() or line == b"{}" else b", ") + b'"rejection": ' + reason + b"}"


def check_readable(sources: Iterable[Any]) -> None:
    """Raise UsageError, as `read_rows` would, for the first of some files that can't be opened."""
    for source in sources:
        if not isinstance(source, dict) and str(source) != "-" and not Path(source).is_fifo():
            try:
                Path(source).open("rb").close()
            except (OSError, ValueError) as error:
                raise UsageError(f"{source}: it can't be read: {_reason(error)}") from error


def read_rows(source: str, reading: Reading | None = None) -> Iterator[RawRow]:
    """The rows of a file, or of standard input for `-`; raises UsageError if it can't be read at all.

    The ending of its name decides the format, each with or without .gz or .zst. What has another ending, or none, is
    looked into: it is JSONL if it begins with a brace, a JSON array if with a bracket, and else refused. Standard input
    is text otherwise, a line an instruction.
    """
    reading = reading or Reading()
    try:
        if source == "-":
            file = opened("stdin", sys.stdin.buffer, reading)
            yield from _of_kind(file, _looked_into(file) or "text", reading)
            return
        path = Path(source)
        with open_file(path) as raw:
            file = opened(source, raw, reading)
            kind = KINDS.get(file.ending) or _looked_into(file)
            if kind is None:
                raise UsageError(
                    f"{source}: its name doesn't say what it holds, and it begins like neither JSONL nor a JSON array; "
                    "let it end in .jsonl, .json, .csv, .tsv, .txt or .parquet"
                )
            yield from _of_kind(file, kind, reading)
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: it is not in {error.encoding}: {error.reason}; say --encoding") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"{source}: it can't be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _of_kind(file: Opened, kind: str, reading: Reading) -> Iterator[RawRow]:
    match kind:
        case "jsonl":
            return _jsonl(file, reading)
        case "json":
            return _json(file, reading)
        case "csv" | "tsv":
            rows = tables.csv_rows(file, tab=kind == "tsv", max_line=reading.max_line)
        case "parquet":
            rows = tables.parquet_rows(file.name)
        case _:
            return _text(file, reading)
    return (
        RawRow(f"{file.name}:{number}", _unfolded(value) if problem is None else value, problem)
        for number, value, problem in rows
    )


def _unfolded(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose cells hold their conversations and lists, where they lie as JSON in them; other cells are texts."""
    for name, cell in row.items():
        if isinstance(cell, str) and cell[:1] in ("[", "{"):
            try:
                value = _cleaned(loads(cell.encode("utf-8", "backslashreplace")))
            except ValueError:
                continue
            if name.lower() in NESTED_KEYS or _are_turns(value):
                row[name] = value
    return row


def _are_turns(value: Any) -> bool:
    """Whether a value is a conversation, whatever the name of its column."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(turn, dict) and not turn.keys().isdisjoint(("role", "from")) for turn in value)


def _looked_into(file: Opened) -> str | None:
    """What a file holds, by how it begins."""
    start = file.beginning().lstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    return {b"{": "jsonl", b"[": "json"}.get(start[:1])


def _blocks(file: Opened, reading: Reading) -> Iterator[list[bytes]]:
    """The lines of a file without their line feeds, a block of them at a time.

    Raises UsageError at a line that is too long to be one.
    """
    number, rest = 1, b""
    while piece := file.stream.read(PIECE):
        block = rest + piece
        lines = block.split(b"\n")
        if len(block) > reading.max_line:
            _check_lengths(file.name, number, lines, reading.max_line)
        rest = lines.pop()
        number += len(lines)
        yield lines
    if rest:
        yield [rest]


def _check_lengths(name: str, first: int, lines: list[bytes], most: int) -> None:
    for number, line in enumerate(lines, start=first):
        if len(line) > most:
            raise UsageError(
                f"{name}:{number}: the line is longer than {most:,} bytes (--max-line); is it the kind of file that "
                "its name says?"
            )


def _jsonl(file: Opened, reading: Reading) -> Iterator[RawRow]:
    name, number = file.name, 0
    for lines in _blocks(file, reading):
        for line in lines:
            number += 1
            if not line or line.isspace():
                continue
            place = f"{name}:{number}"
            try:
                value = from_json(line, allow_inf_nan=False)
            except ValueError:
                yield _odd_row(place, line)
            else:
                yield RawRow(place, value, None, line)


def _odd_row(place: str, line: bytes) -> RawRow:
    """A row that the fast and strict reader can't read: it may be fine (a lone surrogate, a very long number)."""
    try:
        value = loads(line)
        cleaned = _cleaned(value)
    except UnicodeDecodeError as error:
        problem = f"invalid UTF-8: {error.reason} at byte {error.start + 1} (--encoding says another)"
        return RawRow(place, _as_text(line), problem)
    except ValueError as error:
        return RawRow(place, _as_text(line), f"not JSON: {error}")
    return RawRow(place, cleaned, None, line if cleaned == value else None)


def _cleaned(value: Any, left: int = NESTING) -> Any:
    """A value as JSON can hold it: NaN is null. Raises ValueError if it is nested too deeply."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, list | dict):
        return value
    if not left:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_cleaned(each, left - 1) for each in value]
    return {key: _cleaned(each, left - 1) for key, each in value.items()}


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


def dumped(value: Any) -> bytes:
    """A value as JSON; a lone surrogate, which UTF-8 can't hold, becomes the escape that JSON has for it."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")


def _json(file: Opened, reading: Reading) -> Iterator[RawRow]:
    """The rows of a JSON array, one after the other, or of a file that is JSONL in truth."""
    stream = codecs.getreader("utf-8")(file.stream)
    decoder, text, number, began = json.JSONDecoder(), "", 0, False
    while True:
        text = text.lstrip(" \t\r\n,") if began else text.lstrip()
        if not began and text:
            if text[0] != "[":
                yield from _objects(file, stream, text, reading)
                return
            began, text = True, text[1:]
            continue
        if text.startswith("]") and began:
            return
        try:
            value, end = decoder.raw_decode(text)
            if end == len(text) and not text.endswith(("}", "]", '"')):
                raise ValueError("it may go on")  # a number, of which more may come
        except RecursionError as error:
            raise UsageError(f"{file.name}, row {number + 1}: nested too deeply") from error
        except ValueError as error:
            if len(text) > reading.max_line:
                raise UsageError(
                    f"{file.name}, row {number + 1}: no row ends within {reading.max_line:,} bytes (--max-line)"
                ) from error
            more = stream.read(PIECE)
            if not more:
                if not began:
                    raise UsageError(f"{file.name}: it is empty") from error
                raise UsageError(f"{file.name}: not JSON: row {number + 1}: {_syntax(error)}") from error
            text += more
        else:
            number, text = number + 1, text[end:]
            yield _checked(f"{file.name}:{number}", value)


def _checked(place: str, value: Any) -> RawRow:
    try:
        return RawRow(place, _cleaned(value))
    except ValueError as problem:
        return RawRow(place, "", str(problem))


def _syntax(error: Exception) -> str:
    """What is wrong with some JSON, without a place in the piece that was read."""
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _objects(file: Opened, stream: codecs.StreamReader, text: str, reading: Reading) -> Iterator[RawRow]:
    """One object after the other, each on lines of its own or over several."""
    decoder, number = json.JSONDecoder(), 0
    while True:
        text = text.lstrip()
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            more = stream.read(PIECE) if len(text) <= reading.max_line else ""
            if not more:
                if not text:
                    return
                raise UsageError(f"{file.name}: not JSON: row {number + 1}: {_syntax(error)}") from error
            text += more
        else:
            if not isinstance(value, dict):
                raise UsageError(f"{file.name}: it must hold a list of rows")
            number, text = number + 1, text[end:]
            yield _checked(f"{file.name}:{number}", value)


def _text(file: Opened, reading: Reading) -> Iterator[RawRow]:
    lines = itertools.chain.from_iterable(_blocks(file, reading))
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not stripped:
            continue
        try:
            yield RawRow(f"{file.name}:{number}", stripped.decode())
        except UnicodeDecodeError as error:
            problem = f"invalid UTF-8: {error.reason} (--encoding says another)"
            yield RawRow(f"{file.name}:{number}", _as_text(stripped), problem)


def _as_text(line: bytes) -> str:
    return line.decode(errors="backslashreplace").rstrip()
