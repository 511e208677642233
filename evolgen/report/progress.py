"""`OUT.progress.json`: how far a run has come, for other programs to watch."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evolgen.engine.output import replace_file
from evolgen.events import Event
from evolgen.report.tally import Tally

EVERY = 1.0
"""Seconds between two states of the file."""


class ProgressFile:
    """Watches a run's events; replaces the file at most once a second, whole each time."""

    def __init__(self, path: Path, whose: Mapping[str, Any], tally: Tally, target: int | None) -> None:
        """`whose` says to whom the files belong that are on their way."""
        self._path = path
        self._whose = whose
        self._tally = tally
        self._target = target
        self._started = time.monotonic()
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        tally = self._tally
        state = {
            **self._whose,
            "candidates": tally.candidates,
            "accepted": tally.accepted,
            "rejected": tally.rejected,
            "target": self._target,
            "requests": tally.requests,
            "in_flight": tally.in_flight,
            "replayed": tally.replayed,
            "tokens": tally.prompt_tokens + tally.completion_tokens,
            "seconds": round(now - self._started, 1),
        }
        with contextlib.suppress(OSError):  # watching must not end a run
            replace_file(self._path, json.dumps(state) + "\n")
