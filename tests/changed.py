"""The tests of what was changed: prints their files, for `make check`.

Tests mirror the package, so a module's tests are those of the same name, else those of its folder. Changed is what is
not committed yet; where everything is, what the last commit changed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

ALWAYS = ("tests/test_layers.py",)


def tests_of(changed: Iterable[str]) -> list[str]:
    """The test files and folders for some files of the project, as pytest takes them."""
    found = set(ALWAYS)
    for path in map(Path, changed):
        if path.suffix != ".py" or not path.exists():
            continue
        if path.parts[0] == "evolgen":
            folder = Path("tests", *path.parts[1:-1])
            same_name = sorted(folder.glob(f"test_{path.stem}*.py"))
            found |= {str(path), *map(str, same_name or ([folder] if path.parts[1:-1] and folder.is_dir() else ()))}
        elif path.name.startswith("test_"):
            found.add(str(path))
    return sorted(found)


def changed_files() -> list[str]:
    """What git says is changed, or new."""
    return _git("diff", "--name-only", "HEAD") + _git("ls-files", "--others", "--exclude-standard") or _git(
        "diff", "--name-only", "HEAD~1"
    )


def _git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


if __name__ == "__main__":
    print(*tests_of(changed_files()))
