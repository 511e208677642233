"""A model on the Hugging Face hub: fetched by huggingface_hub, kept once it is whole."""

from __future__ import annotations

import io
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evolgen.errors import ModelError
from evolgen.runner.cache import Progress, cache_folder, room_for, sha256

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")

RESERVE = 50_000_000
"""Bytes of disk that are left free."""


@dataclass(frozen=True)
class HubFile:
    """A GGUF file in a repository: OWNER/REPO:FILE.

    Fetching honours HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and the proxies of the environment.
    """

    owner: str
    repo: str
    file: str

    @classmethod
    def read(cls, name: str) -> HubFile:
        """Read OWNER/REPO:FILE, with or without hf: before it; raises ModelError if it is none, or leads elsewhere.

        >>> HubFile.read("hf:bartowski/SmolLM2-360M-Instruct-GGUF:SmolLM2-360M-Instruct-Q8_0.gguf").repo
        'SmolLM2-360M-Instruct-GGUF'
        """
        place, _, file = name.removeprefix("hf:").partition(":")
        owner, _, repo = place.partition("/")
        if not (_NAME.fullmatch(owner) and _NAME.fullmatch(repo) and file):
            raise ModelError(f"{name}: a model on the hub is named hf:OWNER/REPO:FILE.gguf")
        parts = PurePosixPath(file).parts
        if "\\" in file or file.startswith("/") or any(not _NAME.fullmatch(part) for part in parts):
            raise ModelError(f"{name}: {file!r} is no plain path inside a repository")
        if not file.endswith(".gguf"):
            raise ModelError(f"{name}: {file} is no .gguf file, and evolgen runs no others")
        return cls(owner, repo, "/".join(parts))

    def __str__(self) -> str:
        return f"hf:{self.owner}/{self.repo}:{self.file}"

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        return cache_folder() / "hf" / self.owner / self.repo / self.file

    @property
    def here(self) -> bool:
        return self.path.is_file()

    def pull(self, progress: Progress = lambda done, total: None) -> Path:
        """Fetch it unless it is there; returns its path. What was fetched of it before is not fetched again.

        It comes into a folder beside the models, and is moved to its place when its size and sha256 are right.
        Raises ModelError.
        """
        if self.here:
            return self.path
        hub = _hub()
        endpoint = os.environ.get("HF_ENDPOINT") or None
        size, digest = self._asked_about(hub, endpoint)
        with room_for(size + RESERVE, str(self)) as folder:
            staging = folder / ".hub" / f"{self.owner}--{self.repo}"
            for place in (staging / self.file, staging / ".cache", self.path):
                if not place.resolve().is_relative_to(folder.resolve()):
                    raise ModelError(f"{self}: a link in {folder} leads outside of it; nothing was fetched")
            try:
                found = Path(
                    hub.hf_hub_download(
                        f"{self.owner}/{self.repo}",
                        self.file,
                        local_dir=staging,
                        endpoint=endpoint,
                        tqdm_class=_bar(progress, size),
                    )
                )
            except Exception as error:  # the library lets through whatever its HTTP client raises
                raise self._failed(error) from error
            self._check(found, size, digest)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            found.replace(self.path)
        progress(size, size)
        return self.path

    def _asked_about(self, hub: Any, endpoint: str | None) -> tuple[int, str | None]:
        """Its size in bytes, and its sha256 where the hub tells it."""
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise ModelError(f"{self}: it isn't here, and HF_HUB_OFFLINE is set; unset it to fetch the model")
        try:
            url = hub.hf_hub_url(f"{self.owner}/{self.repo}", self.file, endpoint=endpoint)
            about = hub.get_hf_file_metadata(url, endpoint=endpoint)
        except Exception as error:
            raise self._failed(error) from error
        digest = about.etag if about.etag and _SHA256.fullmatch(about.etag) else None
        return about.size or 0, digest

    def _check(self, found: Path, size: int, digest: str | None) -> None:
        if (size and found.stat().st_size != size) or (digest is not None and sha256(found) != digest):
            found.unlink()
            raise ModelError(
                f"{self}: what came is not what the hub has (its size or sha256 is another); fetch it again"
            )

    def _failed(self, error: Exception) -> ModelError:
        from huggingface_hub import errors

        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, errors.GatedRepoError) or status in (401, 403):
            return ModelError(
                f"{self}: the hub wants a token that may read it; set HF_TOKEN, and accept its licence there"
            )
        if isinstance(error, errors.EntryNotFoundError | errors.RepositoryNotFoundError) or status == 404:
            return ModelError(f"{self}: the hub has no such file; look at its page for the exact name")
        said = " ".join(str(error).split())[:200] or type(error).__name__
        return ModelError(f"{self}: it can't be fetched: {said}; what came is kept, so run the same command again")


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ModelError("fetching from the hub needs the local extra: pip install 'evolgen[local]'") from error
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what goes wrong is told once, and by us
    return huggingface_hub


def _bar(progress: Progress, size: int) -> Any:
    """What huggingface_hub reports to: a tqdm that shows nothing and tells `progress`."""
    from huggingface_hub import utils

    class Bar(utils.tqdm):  # type: ignore[name-defined, misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **(options | {"disable": False, "file": io.StringIO()}))

        def update(self, n: float | None = 1) -> Any:
            told = super().update(n)
            progress(int(self.n), size)
            return told

    return Bar
