"""The files of a run: written beside their final names, locked, and published by renaming.

For `data/evolved.jsonl`: `data/evolved.rejected.jsonl` and `data/evolved.manifest.json` lie beside it. While a
run goes, both datasets end in `.part`, so that nobody reads half a file, and `data/evolved.progress.json` says
how far it has come.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any

from evolgen.errors import Stopped, UsageError
from evolgen.records import Record


class OutputFiles:
    """The names that belong to `-o OUT`."""

    def __init__(self, out: Path) -> None:
        """Raises UsageError if `out` is a folder."""
        if out.is_dir():
            raise UsageError(f"-o {out}: this is a folder; name a file such as {out / 'evolved.jsonl'}")
        stem = out.stem if out.suffix == ".jsonl" else out.name
        self.accepted = out
        self.rejected = out.with_name(f"{stem}.rejected.jsonl")
        self.manifest = out.with_name(f"{stem}.manifest.json")
        self.progress = out.with_name(f"{stem}.progress.json")
        self.stages = out.with_name(f"{stem}.stages")


class DatasetWriter:
    """One JSONL file on its way: append lines, then publish."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._file = _open_locked(self._part)
        self._digest = hashlib.sha256()

    def write(self, line: bytes) -> None:
        self._digest.update(line)
        self._file.write(line)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def publish(self) -> None:
        """Give the file its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)
        self._file.close()

    def empty(self) -> None:
        """Take back what was written, unless it is published."""
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
                self._file.seek(0)

    def close(self) -> None:
        """Leave the `.part` file as it is, unless there is nothing in it."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):
            if self._file.tell() == 0:
                self._part.unlink()
            self._file.close()


class Output:
    """Accepted and rejected rows on their way to disk.

    Raises UsageError if the place can't be written, is in use by another run, or holds a file that evolgen did
    not write (unless `force`). Raises Stopped if the disk fails later on.
    """

    def __init__(self, out: Path, *, force: bool = False) -> None:
        self.files = OutputFiles(out)
        if out.exists() and not self.files.manifest.exists() and not force:
            raise UsageError(f"-o {out}: the file exists and is not evolgen's (it has no manifest); "
                             "name another, or overwrite it with --force")  # fmt: skip
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._accepted = DatasetWriter(self.files.accepted)
            self._rejected = DatasetWriter(self.files.rejected)
        except OSError as error:
            raise UsageError(f"-o {out}: it can't be written: {error.strerror or error}") from error

    def write(self, row: Record) -> None:
        self.write_line(row.to_line(), accepted=row.rejection is None)

    def write_line(self, line: bytes, *, accepted: bool) -> None:
        """Write one line, its end included."""
        writer = self._accepted if accepted else self._rejected
        try:
            writer.write(line)
        except OSError as error:
            raise self._failed(error) from error

    def publish(self, manifest: dict[str, Any]) -> None:
        """Give all files their final names, the accepted rows last: who sees them sees all the rest."""
        sha256 = {
            self.files.accepted.name: self._accepted.sha256,
            self.files.rejected.name: self._rejected.sha256,
        }
        text = json.dumps(manifest | {"sha256": sha256}, indent=2, ensure_ascii=False)
        try:
            self._rejected.publish()
            replace_file(self.files.manifest, text + "\n")
            self._accepted.publish()
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Throw away what was written and not published: making it again costs nothing."""
        self._accepted.empty()
        self._rejected.empty()

    def close(self) -> None:
        """Let the files go; what was not published stays as `.part`."""
        self._accepted.close()
        self._rejected.close()

    def _failed(self, error: OSError) -> Stopped:
        return Stopped(f"-o {self.files.accepted}: it can't be written: {error.strerror or error}; every answer is in "
                       "the store, so mend that and run the same command again")  # fmt: skip


def replace_file(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def _open_locked(path: Path) -> IO[bytes]:
    """Open a file for this process alone, emptied; raises UsageError if another one has it."""
    while True:
        file = path.open("ab")
        if not _lock(file):
            file.close()
            raise UsageError(f"{path}: another run is writing this output; wait for it, or name another with -o")
        try:
            same = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            same = False
        if same:
            file.truncate(0)
            return file
        file.close()  # published by another run between opening and locking


def _lock(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: an open file can't be renamed there, which protects it as well
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
