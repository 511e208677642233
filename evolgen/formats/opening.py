"""A file as UTF-8 bytes, whatever it is compressed with and encoded in."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import select
import stat
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from evolgen.config.reading import Reading
from evolgen.errors import UsageError

LOOKED_AT = 4096
"""Bytes that tell what a file is."""

PIPED = 2**16
"""Bytes that are read of a pipe at once."""

WAITING: ContextVar[Callable[[], None]] = ContextVar("WAITING", default=lambda: None)
"""Called while a pipe or a terminal is waited for; what it raises ends the wait."""

ASKED_EVERY = 200
"""Milliseconds between two such calls."""

MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
         codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
"""Byte order marks that name an encoding; the longer ones first, for one begins with another."""

COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
"""How compressed files begin."""


def open_file(path: Path) -> IO[bytes]:
    """A file to be read; a named pipe is not waited for here until somebody writes to it."""
    waiting = os.O_NONBLOCK if path.is_fifo() else 0
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | waiting))


@dataclass
class Opened:
    """A file that is read: its name, the ending that says what it holds, and its bytes in UTF-8 without a mark."""

    name: str
    ending: str
    stream: io.BufferedReader

    def beginning(self) -> bytes:
        """How it begins; nothing is taken away."""
        return self.stream.peek(LOOKED_AT)[:LOOKED_AT]


def opened(name: str, raw: IO[bytes], reading: Reading) -> Opened:
    """A file by its name and its first bytes; raises UsageError for what needs a package that isn't there."""
    endings = [ending.lower() for ending in Path(name).suffixes]
    stream = cast(io.BufferedReader, raw)
    if _is_waited_for(raw):
        stream = io.BufferedReader(_Waited(raw), PIPED)
    elif not hasattr(raw, "peek"):
        stream = io.BufferedReader(cast(Any, raw), LOOKED_AT)
    start = stream.peek(4)[:4]
    for mark, ending in COMPRESSED.items():
        if start.startswith(mark):
            stream = DECOMPRESSED[ending](name, stream)
            endings = endings[:-1] if endings[-1:] == [ending] else endings
            start = stream.peek(4)[:4]
            break
    if endings[-1:] and endings[-1] in DECOMPRESSED:
        raise UsageError(f"{name}: it can't be read: its name ends in {endings[-1]}, and it is not compressed so")
    encoding = reading.encoding or next((MARKS[mark] for mark in MARKS if start.startswith(mark)), None)
    if start.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    elif encoding is not None and codecs.lookup(encoding).name != "utf-8":
        recoded = codecs.StreamRecoder(
            stream, codecs.getencoder("utf-8"), codecs.getdecoder("utf-8"), codecs.getreader(encoding),
            codecs.getwriter(encoding), "strict",
        )  # fmt: skip
        stream = io.BufferedReader(cast(Any, _Recoded(recoded)), 2**16)
    return Opened(name, endings[-1] if endings else "", stream)


def _is_waited_for(raw: IO[bytes]) -> bool:
    try:
        return not stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
    except OSError:  # it is no file
        return False


class _Waited(io.RawIOBase):
    """A pipe or a terminal, which may have nothing to give for a long while."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._check = WAITING.get()
        self._poll = select.poll()
        self._poll.register(raw, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._poll.poll(ASKED_EVERY):
            self._check()
        piece = os.read(self._raw.fileno(), len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Recoded(io.RawIOBase):
    """The bytes of a recoder as a raw stream."""

    def __init__(self, recoder: codecs.StreamRecoder) -> None:
        self._recoder = recoder
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._recoder.read(len(buffer))
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _gunzip(name: str, stream: IO[bytes]) -> io.BufferedReader:
    return cast(io.BufferedReader, gzip.GzipFile(fileobj=stream))


def _unzstd(name: str, stream: IO[bytes]) -> io.BufferedReader:
    try:
        import zstandard
    except ImportError as error:
        raise UsageError(f"{name}: reading .zst needs the zstd extra: pip install 'evolgen[zstd]'") from error
    return io.BufferedReader(cast(Any, zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)))


DECOMPRESSED: dict[str, Callable[[str, IO[bytes]], io.BufferedReader]] = {".gz": _gunzip, ".zst": _unzstd}
