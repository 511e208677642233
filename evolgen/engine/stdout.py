"""`-o -`: accepted rows go to standard output once the run is through, the rest only where it is named."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from evolgen.engine.output import OutputFiles, replace_file
from evolgen.errors import Stopped, UsageError
from evolgen.records import Record

IN_MEMORY = 8 * 2**20


class StandardOutput:
    """As `engine.output.Output`, for a pipe: nothing is seen of a run that ends early."""

    def __init__(self, rejects: Path | None, manifest: Path | None) -> None:
        """Raises UsageError if one of the files can't be written."""
        self.files = OutputFiles(Path("-"))
        self._paths = {"--rejects": rejects, "--manifest": manifest}
        self._accepted = tempfile.SpooledTemporaryFile(IN_MEMORY)
        self._rejected = tempfile.SpooledTemporaryFile(IN_MEMORY)
        for flag, path in self._paths.items():
            if path is not None and path.exists():
                raise UsageError(f"{flag} {path}: the file exists; name another")

    def write(self, row: Record) -> None:
        self.write_line(row.to_line(), accepted=row.rejection is None)

    def write_line(self, line: bytes, *, accepted: bool) -> None:
        """Write one line, its end included."""
        (self._accepted if accepted else self._rejected).write(line)

    def would_empty(self, accepted: int) -> bool:
        """Nothing is there that could be replaced."""
        return False

    def publish(self, manifest: dict[str, Any]) -> None:
        """Let all of it go."""
        rejects, told = self._paths.values()
        try:
            if rejects is not None:
                self._rejected.seek(0)
                with rejects.open("wb") as file:
                    shutil.copyfileobj(self._rejected, file)
            if told is not None:
                replace_file(told, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
            self._accepted.seek(0)
            shutil.copyfileobj(self._accepted, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise Stopped(f"-o -: it can't be written: {error.strerror or error}") from error

    set_aside = publish

    def discard(self) -> None:
        """Nothing was let go yet."""

    def close(self) -> None:
        for file in (self._accepted, self._rejected):
            with contextlib.suppress(OSError):
                file.close()
