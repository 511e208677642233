"""Local models: the catalogue, what is in the cache, and what a name means."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from evolgen.errors import ModelError, nearest
from evolgen.runner.cache import cache_folder
from evolgen.runner.gguf import read_header
from evolgen.runner.hub import HubFile
from evolgen.runner.wheel import Wheel

Source: TypeAlias = Wheel | HubFile


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that is known by a short name; `size` is in bytes, about, and `context` in tokens."""

    name: str
    source: Source
    parameters: str
    size: int
    context: int
    licence: str
    about: str


def _entry(name: str, told: dict[str, Any]) -> CatalogueEntry:
    wheel, hub = told.pop("wheel", None), told.pop("hub", "")
    return CatalogueEntry(name, Wheel(**wheel) if wheel else HubFile.read(hub), **told)


CATALOGUE = {
    name: _entry(name, told)
    for name, told in tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text("utf-8")).items()
}

EMBEDDED = CATALOGUE["smollm2-135m"].source
"""What is fetched without being asked for: it is small."""


def find(name: str) -> Source | Path:
    """What NAME, hf:OWNER/REPO:FILE or PATH.gguf means, each with or without local: before it.

    Raises ModelError if it means nothing.

    >>> find("smollm2-135m").file
    'SmolLM2-135M-Instruct.Q4_1.gguf'
    """
    name = name.removeprefix("local:")
    if name in CATALOGUE:
        return CATALOGUE[name].source
    if name.startswith("hf:"):
        return HubFile.read(name)
    path = Path(name).expanduser()
    if path.suffix.lower() != ".gguf" and not path.exists():
        near = nearest(name, CATALOGUE)
        raise ModelError(
            f"{name}: neither a .gguf file nor a model of the catalogue"
            f"{f'; did you mean {near}?' if near else ''} (`evolgen models list` shows it)"
        )
    return path


def resolve(name: str) -> Source | Path:
    """As `find`, of what can be run now or fetched without asking: the embedded model, what is here, or a GGUF file."""
    found = find(name)
    if isinstance(found, Path):
        read_header(found)
    elif not found.here and found != EMBEDDED:
        raise ModelError(f"{name}: it isn't here yet; `evolgen models pull {name.removeprefix('local:')}` fetches it")
    return found


def local_path(name: str) -> Path:
    """The file of a model that is here; raises ModelError if it isn't."""
    found = find(name)
    if isinstance(found, Path):
        return found
    if not found.here:
        raise ModelError(f"{name}: it isn't here; `evolgen models pull {name.removeprefix('local:')}` fetches it")
    return found.path


def cached() -> Iterator[tuple[str, Path]]:
    """The models in the cache, each with the name that finds it."""
    known = {entry.source.path: entry.name for entry in CATALOGUE.values()}
    folder = cache_folder()
    for path in sorted((*folder.glob("*.gguf"), *folder.glob("hf/*/*/**/*.gguf"))):
        place = path.relative_to(folder).parts
        yield (
            known.get(path) or (f"hf:{place[1]}/{place[2]}:{'/'.join(place[3:])}" if len(place) > 1 else str(path)),
            path,
        )


def remove(name: str) -> Path:
    """Take a model out of the cache; raises ModelError if it isn't in it. Files elsewhere are left alone."""
    path = dict(cached()).get(name.removeprefix("local:"))
    if path is None:
        raise ModelError(f"{name}: there is no such model in {cache_folder()}; `evolgen models list` shows what is")
    path.unlink()
    for folder in path.parents:
        if folder == cache_folder() or any(folder.iterdir()):
            break
        folder.rmdir()
    return path
