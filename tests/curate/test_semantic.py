"""Rows are compared with those already selected, and of two copies one stays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from evolgen.curate import semantic
from evolgen.curate.neighbour import Neighbour
from evolgen.curate.semantic import near_by_vectors


def brute_force(vectors: NDArray[np.float32], fixed: int, threshold: float) -> list[int | None]:
    units = [vector / max(float(np.linalg.norm(vector)), 1e-30) for vector in vectors]
    selected: list[int] = []
    found: list[int | None] = []
    for position, unit in enumerate(units):
        near = [(float(units[other] @ unit), -other) for other in selected] if position >= fixed else []
        score, other = max(near, default=(-1.0, 0))
        found.append(-other if score > threshold else None)
        if found[-1] is None:
            selected.append(position)
    return found


def clusters(rows: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, rows // 4), 8))
    return (centres[rng.integers(0, len(centres), rows)] + 0.3 * rng.normal(size=(rows, 8))).astype(np.float32)


@pytest.mark.parametrize("fixed", [0, 5])
@pytest.mark.parametrize("rows", [1, 2, 60, 700])
def test_exact_search_decides_as_brute_force(rows: int, fixed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "BLOCK", 64)
    vectors = clusters(rows)
    found = list(near_by_vectors(vectors, fixed=fixed, threshold=0.9))
    assert [None if neighbour is None else neighbour.position for neighbour in found] == brute_force(
        vectors, fixed, 0.9
    )


def test_a_skipped_row_hides_no_other() -> None:
    """a is near b and b near c, but c is not near a: c stays, for b is gone."""
    angles = np.radians([0, 20, 40])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    a, b, c = near_by_vectors(vectors, threshold=0.9)
    assert (a, c) == (None, None)
    assert b is not None
    assert b.position == 0
    assert b.score == pytest.approx(np.cos(np.radians(20)))


def test_of_two_copies_one_stays_and_zeros_are_near_to_nothing() -> None:
    vectors = np.array([[1, 2], [2, 4], [0, 0], [0, 0]], np.float32)
    first, second, *zeros = near_by_vectors(vectors)
    assert first is None
    assert second is not None
    assert second.position == 0
    assert 0.9999 < second.score <= 1
    assert zeros == [None, None]
    assert list(near_by_vectors(np.empty((0, 4), np.float32))) == []


def test_beyond_the_limit_an_index_proposes_and_invents_nothing() -> None:
    pytest.importorskip("usearch")
    vectors = clusters(1500)
    exact = list(near_by_vectors(vectors, threshold=0.9))
    found = list(near_by_vectors(vectors, threshold=0.9, most_exact=100))
    assert found == list(near_by_vectors(vectors, threshold=0.9, most_exact=100))
    dropped = sum(neighbour is not None for neighbour in exact)
    assert sum(neighbour is not None for neighbour in found) >= 0.95 * dropped
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for position, neighbour in enumerate(found):
        if isinstance(neighbour, Neighbour):
            assert found[neighbour.position] is None
            assert neighbour.score > 0.9
            assert float(units[position] @ units[neighbour.position]) == pytest.approx(neighbour.score, abs=1e-5)
