"""How much memory a model takes, reckoned from its header, and how much there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from evolgen.errors import ModelError
from evolgen.runner.gguf import Header

BATCH = 512
"""Tokens that go through the model at once while a prompt is read."""

PROGRAM = 32 * 2**20
"""Bytes that llama.cpp takes whatever the model."""

PRECISIONS = {"16-bit": 2.0, "8-bit": 34 / 32, "4-bit": 18 / 32}
"""Bytes a parameter: F16, Q8_0, Q4_0."""


@dataclass(frozen=True)
class Memory:
    """Bytes: of the weights, of what is kept of each token in context, and of what is reckoned with meanwhile."""

    weights: int
    cache: int
    working: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.working


def needed(header: Header, context: int, slots: int, *, weights: int | None = None) -> Memory:
    """What a model takes with `slots` texts of `context` tokens each at once; keys and values are kept in 16 bits."""
    forward = _whole(header.get("feed_forward_length")) or 4 * header.width
    return Memory(
        weights=header.weights if weights is None else weights,
        cache=2 * header.cache_width * context * slots,
        working=PROGRAM + 4 * BATCH * (4 * header.width + 2 * forward),
    )


def needed_at(header: Header, context: int, slots: int) -> dict[str, Memory]:
    """The same for the model in 16, 8 and 4 bits."""
    return {
        name: needed(header, context, slots, weights=round(header.parameters * each))
        for name, each in PRECISIONS.items()
    }


def available() -> int | None:
    """Bytes that programs can still have, of this machine or of what this process may take; None if unknown."""
    found = [number for number in (_machine(), _control_group()) if number is not None]
    return min(found, default=None)


def check_fits(header: Header, context: int, slots: int) -> None:
    """Raise ModelError, with the numbers, if a model can't be held."""
    there = available()
    memory = needed(header, context, slots)
    if there is not None and memory.total > there:
        raise ModelError(
            f"{header.path}: it takes about {gigabytes(memory.total)} of memory ({gigabytes(memory.weights)} weights, "
            f"{gigabytes(memory.cache)} for {slots} x {context:,} tokens of context), and {gigabytes(there)} are free; "
            "take a smaller model, a shorter context or fewer slots"
        )


def gigabytes(size: float) -> str:
    """A size as people write it.

    >>> gigabytes(3_791_650_816), gigabytes(98_362_432), gigabytes(512_000)
    ('3.8 GB', '98 MB', '1 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _control_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container may still take: its limit less what it has, but for the files that it only caches."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        numbers = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(numbers.get("inactive_file", 0)) + int(numbers.get("active_file", 0)))
    except (OSError, ValueError):
        return None


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
