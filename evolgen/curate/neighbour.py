"""What a search for near rows finds."""

from __future__ import annotations

from typing import NamedTuple


class Neighbour(NamedTuple):
    """The nearest of the rows that were kept: its position in the order of asking, and how near it is (0 to 1)."""

    position: int
    score: float
