"""How long to wait before calling again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts, in seconds: `first`, doubling up to `most`, each varied by half either way.

    Where the endpoint says when to come back, that is it, and a little more, so that not all come back at once.
    """

    first: float = 0.5
    most: float = 30.0
    jitter: random.Random = field(default_factory=random.Random)

    def pause(self, attempt: int, floor: float | None) -> float:
        """How long to wait after a failed attempt (the first is 1)."""
        if floor is not None and floor >= self.first:
            return floor * self.jitter.uniform(1.0, 1.05)
        usual = min(self.most, self.first * 2.0 ** min(attempt - 1, 30)) * self.jitter.uniform(0.5, 1.5)
        return max(floor or 0.0, usual)


def duration(seconds: float) -> str:
    """A time as people write it.

    >>> duration(90), duration(1800), duration(7260), duration(0.05)
    ('90 s', '30 min', '2.0 h', '0.05 s')
    """
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
