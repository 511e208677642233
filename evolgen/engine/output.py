"""The files of a run: written beside their final names, locked, and published by renaming.

For `data/evolved.jsonl`: `data/evolved.rejected.jsonl` and `data/evolved.manifest.json` lie beside it. While a run
goes, both datasets end in `.part`, so that nobody reads half a file, and `data/evolved.progress.json` says whose they
are and how far it has come.

Publishing is the manifest first, then the rejected rows, then the accepted ones: who sees these sees all the rest, and
after a kill between two of the steps the next run can tell by the manifest's sums that the others are to follow.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any

from evolgen.errors import Stopped, UsageError
from evolgen.formats.writers import JsonLines, Writer, stem_of, writer_of
from evolgen.records import Record, printable, unprintable

VERSION = 1
"""Of the progress file."""

LONGEST_NAME = 200
"""Bytes of a file's name: a file system takes 255, and the files beside it have longer ones."""


class OutputFiles:
    """The names that belong to `-o OUT`."""

    def __init__(self, out: Path) -> None:
        """Raises UsageError if `out` is a folder, or can't be a name."""
        if unprintable(str(out)) or len(os.fsencode(out.name)) > LONGEST_NAME:
            shown = printable(str(out))
            raise UsageError(f"-o {shown[:80]}{'...' * (len(shown) > 80)}: a file can't have such a name, or the files "
                             "beside it can't; name another")  # fmt: skip
        if out.is_dir():
            raise UsageError(f"-o {out}: this is a folder; name a file such as {out / 'evolved.jsonl'}")
        stem = stem_of(out)
        self.accepted = out
        self.rejected = out.with_name(f"{stem}.rejected.jsonl")
        self.manifest = out.with_name(f"{stem}.manifest.json")
        self.progress = out.with_name(f"{stem}.progress.json")
        self.stages = out.with_name(f"{stem}.stages")


def part_of(path: Path) -> Path:
    """The name of a file on its way."""
    return path.with_name(f"{path.name}.part")


class DatasetWriter:
    """One file on its way: append lines, then publish."""

    def __init__(self, path: Path, file: IO[bytes], writer: Writer) -> None:
        self._path = path
        self._part = part_of(path)
        self._file = file
        self._writer = writer
        self._digest = hashlib.sha256()

    def write(self, line: bytes) -> None:
        self._put(self._writer.row(line))

    def finish(self) -> str:
        """Write what remains, to the disk; returns the sha256 of all."""
        for piece in self._writer.end():
            self._put(piece)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def publish(self) -> None:
        """Give the file its final name."""
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

    def _put(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._file.write(piece)


class Output:
    """Accepted and rejected rows on their way to disk, for a command.

    Raises UsageError if the place can't be written, is in use by another run, or holds what evolgen did not write, or
    somebody changed (unless `force`). Raises Stopped if the disk fails later on.
    """

    def __init__(self, out: Path, *, command: str, force: bool = False) -> None:
        self.files = OutputFiles(out)
        self.at = OutputFiles(out.absolute())  # whatever folder the program goes to meanwhile
        self.progress = {"version": VERSION, "command": command}
        writer = writer_of(out)
        files = self.files
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            if not force and (foreign := _foreign_part(files)) is not None:
                raise UsageError(_refusal(foreign))
            locked = _open_locked(part_of(out))
            try:
                _finish_publishing(files)
                if not force and (foreign := _foreign(files, command)) is not None:
                    raise UsageError(_refusal(foreign))
                replace_file(files.progress, json.dumps(self.progress) + "\n")
                file = _reopened(part_of(out), locked)
                self._accepted = DatasetWriter(self.at.accepted, file, writer)
                rejected = _open_locked(part_of(files.rejected))
                rejected.truncate(0)
                self._rejected = DatasetWriter(self.at.rejected, rejected, JsonLines())
            except BaseException:
                _close_unused(locked, part_of(out))
                raise
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

    def would_empty(self, accepted: int) -> bool:
        """Whether publishing would put no row in the place of rows that are there."""
        with contextlib.suppress(OSError):
            return not accepted and bool(_count_of(self.at))
        return False

    def publish(self, manifest: dict[str, Any]) -> None:
        """Give all files their final names."""
        try:
            text = self._finished(manifest)
            replace_file(self.at.manifest, text)
            self._rejected.publish()
            self._accepted.publish()
            part_of(self.at.manifest).unlink(missing_ok=True)  # of a run that accepted nothing
        except OSError as error:
            raise self._failed(error) from error

    def set_aside(self, manifest: dict[str, Any]) -> None:
        """Leave rejected rows and manifest as `.part`, and what was published before as it is."""
        try:
            replace_file(part_of(self.at.manifest), self._finished(manifest))
            self._accepted.empty()
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Throw away what was written and not published: making it again costs nothing."""
        self._accepted.empty()
        self._rejected.empty()

    def close(self) -> None:
        """Let the files go; what was not published stays as `.part`, beside the file that says whose it is."""
        self._accepted.close()
        self._rejected.close()
        with contextlib.suppress(OSError):
            if not any(part_of(path).exists() for path in (self.at.accepted, self.at.rejected)):
                self.at.progress.unlink(missing_ok=True)

    def _finished(self, manifest: dict[str, Any]) -> str:
        sums = {
            self.files.accepted.name: self._accepted.finish(),
            self.files.rejected.name: self._rejected.finish(),
        }
        return json.dumps(manifest | {"sha256": sums}, indent=2, ensure_ascii=False) + "\n"

    def _failed(self, error: OSError) -> Stopped:
        return Stopped(
            f"-o {self.files.accepted}: it can't be written: {error.strerror or error}; mend that and run the same "
            "command again"
        )


def replace_file(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def _refusal(foreign: str) -> str:
    return f"-o {foreign}; name another output, or overwrite it with --force"


def _foreign(files: OutputFiles, command: str) -> str | None:
    """Which of the files evolgen may not overwrite, and why; None if it may overwrite all that there are."""
    told = _manifest(files)
    sums = told.get("sha256", {}) if told else {}
    if files.accepted.exists():
        if not told:
            return f"{files.accepted}: the file exists and is not evolgen's (it has no manifest)"
        if _sum(files.accepted) != sums.get(files.accepted.name):
            return f"{files.accepted}: it was changed since evolgen wrote it"
        if told.get("command") != command:
            return f"{files.accepted}: it was written by another command ({told.get('command')})"
    if files.manifest.exists() and not told:
        return f"{files.manifest}: this is no manifest of evolgen's"
    if files.rejected.exists() and _sum(files.rejected) != sums.get(files.rejected.name):
        return f"{files.rejected}: it is not the file of rejected rows that belongs to {files.accepted}"
    return None


def _foreign_part(files: OutputFiles) -> str | None:
    """The same of files on their way, and of the one that says whose they are."""
    ours = False
    if files.progress.exists():
        try:
            told = json.loads(files.progress.read_text("utf-8"))
            ours = isinstance(told, dict) and {"version", "command"} <= told.keys()
        except (ValueError, RecursionError):
            ours = False
        if not ours:
            return f"{files.progress}: the file exists and is not evolgen's"
    for path in map(part_of, (files.accepted, files.rejected)):
        if path.exists() and not ours and path.stat().st_size:
            return f"{path}: the file exists and is not evolgen's (there is no {files.progress.name} beside it)"
    return None


def _finish_publishing(files: OutputFiles) -> None:
    """Where a kill fell between two steps of publishing, do those that remained."""
    told = _manifest(files)
    sums = told.get("sha256", {}) if told else {}
    part = part_of(files.accepted)
    wanted = sums.get(files.accepted.name)
    if wanted is None or not part.exists() or (part.stat().st_size == 0 and wanted != hashlib.sha256().hexdigest()):
        return
    if (files.accepted.exists() and _sum(files.accepted) == wanted) or _sum(part) != wanted:
        return
    rejected = part_of(files.rejected)
    if rejected.exists() and _sum(rejected) == sums.get(files.rejected.name):
        rejected.replace(files.rejected)
    part.replace(files.accepted)


def _manifest(files: OutputFiles) -> dict[str, Any] | None:
    """The manifest that lies there, or None where there is none of evolgen's."""
    try:
        told = json.loads(files.manifest.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("sha256"), dict) else None


def _count_of(files: OutputFiles) -> int:
    """How many rows the output that lies there has."""
    if not files.accepted.exists():
        return 0
    told = _manifest(files)
    count = told.get("accepted") if told else None
    return count if isinstance(count, int) else files.accepted.stat().st_size


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_locked(path: Path) -> IO[bytes]:
    """Open a file for this process alone, as it is; raises UsageError if another one has it."""
    while True:
        file = path.open("ab")
        if not _lock(file):
            file.close()
            raise UsageError(f"{path}: another run is writing this output; wait for it, or name another with -o")
        if _lies_at(file, path):
            return file
        file.close()  # published by another run between opening and locking


def _reopened(path: Path, locked: IO[bytes]) -> IO[bytes]:
    """The same file, emptied; another one where the first was published just now."""
    if not _lies_at(locked, path):
        locked.close()
        return _reopened(path, _open_locked(path))
    locked.truncate(0)
    return locked


def _lies_at(file: IO[bytes], path: Path) -> bool:
    """Whether a path still names an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _close_unused(file: IO[bytes], path: Path) -> None:
    """Let a file go that was only locked; it goes away if there is nothing in it."""
    with contextlib.suppress(OSError):
        if not file.closed:
            if path.exists() and path.stat().st_size == 0:
                path.unlink()
            file.close()


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
