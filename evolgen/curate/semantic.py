"""Near duplicates by meaning: the cosine similarity of embeddings, compared with the rows already selected.

Deita (Liu et al. 2024, section 2.4) takes rows greedily and skips one whose similarity to a selected row is above 0.9:
a skipped row hides no other, and of two copies one stays. The vectors come from outside; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evolgen.curate.neighbour import Neighbour
from evolgen.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 512
"""Rows that are compared with the selected ones at once."""

MOST_EXACT = 200_000
"""Rows up to which each is compared with every selected one; beyond, an approximate index proposes neighbours."""

NOT_SELECTED = -2.0
"""Less than any cosine: nobody is near to a row that was skipped."""

PROPOSED = 16
"""Neighbours that the approximate index proposes for a row; each is compared exactly."""


def near_by_vectors(
    vectors: NDArray[np.float32], *, fixed: int = 0, threshold: float = 0.9, most_exact: int = MOST_EXACT
) -> Iterator[Neighbour | None]:
    """For each vector (one a row) the selected one before it with the highest cosine similarity above the threshold.

    The first `fixed` rows are selected whatever they are. A vector of zeros is near to nothing. Exact up to
    `most_exact` rows; beyond it a neighbour may be overlooked (usearch, HNSW), but none is invented.
    Memory: a copy of the vectors. Raises UsageError where the approximate index is needed and not installed.
    """
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros_like(vectors, np.float32), where=lengths > 0)
    search = _exact if len(units) <= most_exact else _approximate
    return search(units, fixed, threshold)


def _exact(units: NDArray[np.float32], fixed: int, threshold: float) -> Iterator[Neighbour | None]:
    import numpy as np

    selected = np.empty(0, np.int64)
    for start in range(0, len(units), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(units)))
        others = np.concatenate((selected, block))
        similarities = units[block] @ units[others].T
        for row, position in enumerate(block.tolist()):
            before = similarities[row, : len(selected) + row]
            best = int(before.argmax()) if len(before) else 0
            if position >= fixed and len(before) and before[best] > threshold:
                similarities[:, len(selected) + row] = NOT_SELECTED
                yield Neighbour(int(others[best]), min(float(before[best]), 1.0))
            else:
                yield None
        selected = others[
            np.concatenate((np.ones(len(selected), bool), similarities[-1, len(selected) :] > NOT_SELECTED))
        ]


def _approximate(units: NDArray[np.float32], fixed: int, threshold: float) -> Iterator[Neighbour | None]:
    import numpy as np

    try:
        from usearch.index import Index
    except ImportError as error:
        raise UsageError(
            f"semantic: {len(units)} rows are too many to compare each with each; the approximate index needs the "
            "semantic extra: pip install 'evolgen[semantic]'"
        ) from error
    index = Index(ndim=units.shape[1], metric="ip", dtype="f32")
    for position, unit in enumerate(units):
        found = None
        if position >= fixed and len(index) and unit.any():
            proposed = np.sort(index.search(unit, PROPOSED, threads=1).keys.astype(np.int64))
            similarities = units[proposed] @ unit
            best = int(similarities.argmax())
            if similarities[best] > threshold:
                found = Neighbour(int(proposed[best]), min(float(similarities[best]), 1.0))
        if found is None:
            index.add(position, unit, threads=1)
        yield found
