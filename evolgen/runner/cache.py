"""The folder in which models are kept, and the digests of files in it and elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from evolgen.errors import ModelError

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""


def cache_folder() -> Path:
    """Where models are kept: `models` in evolgen's folder of the user's cache."""
    import platformdirs

    return platformdirs.user_cache_path("evolgen") / "models"


@contextlib.contextmanager
def room_for(size: int, what: str) -> Iterator[Path]:
    """The cache folder, made if it isn't there; raises ModelError where it can't be written or has no room."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < size:
            raise ModelError(f"fetching {what} takes {size / 1e6:,.0f} MB for a moment, and {folder} is on a disk with "
                             "less; free some space or set XDG_CACHE_HOME")  # fmt: skip
        yield folder
    except OSError as error:
        raise ModelError(f"can't keep {what} in {folder}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """The sha256 of a model file, remembered by path, size and time so that a large one is read once."""
    status = path.stat()
    mark = [status.st_size, status.st_mtime_ns]
    memory = cache_folder() / "sha256.json"
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    entry = known.get(str(path.resolve()))
    if isinstance(entry, list) and entry[:2] == mark:
        return str(entry[2])
    digest = sha256(path)
    known[str(path.resolve())] = [*mark, digest]
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        fresh = memory.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps(known, indent=1))
        fresh.replace(memory)
    except OSError:
        pass  # a cache that can't be written only costs time
    return digest
