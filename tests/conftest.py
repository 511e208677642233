"""What the tests share: a folder of their own, seeds, and a loopback teacher."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.teacher import Teacher

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in an empty folder and knows nothing of the user's environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("EVOLGEN_MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with Teacher() as teacher:
        yield teacher


@pytest.fixture
def write_seeds(tmp_path: Path) -> Callable[[int], Path]:
    """Write N different seeds to a file."""

    def write(count: int) -> Path:
        path = tmp_path / "seeds.jsonl"
        path.write_text(
            "".join(json.dumps({"instruction": f"Describe thing number {i}."}) + "\n" for i in range(count))
        )
        return path

    return write


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
