"""How well Self-Instruct keeps its calls in flight although its pool has an order, against a bare loop.

    python -m tests.bench.growing

Occupancy is the mean number of calls in flight, from the moment when all slots were first in use to four fifths of the
rows, by the number of slots.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import evolgen
from evolgen.events import Asked, Committed, Event, Stored
from evolgen.report.summary import Summary
from tests.bench.engine import measure, report
from tests.bench.server import running

LATENCY, IN_FLIGHT = 0.2, 64
ROWS = {"self-instruct": 4_000, "alpaca": 20_000}


class Gauge:
    """Watches a run: the calls in flight over time, and the answers by role."""

    def __init__(self, rows: int) -> None:
        self.answers: Counter[str] = Counter()
        self.seconds = self.call_seconds = 0.0
        self._rows = rows
        self._in_flight = 0
        self._full_since: float | None = None
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        now = time.perf_counter()
        measuring = self._full_since is not None and self._rows > 0
        if measuring:
            self.call_seconds += self._in_flight * (now - self._last)
            self.seconds += now - self._last
        self._last = now
        match event:
            case Asked():
                self._in_flight += 1
                if self._in_flight == IN_FLIGHT and self._full_since is None:
                    self._full_since = now
            case Stored(role=role):
                self._in_flight -= 1
                self.answers[role] += measuring
            case Committed(row=row):
                self._rows -= row.rejection is None


def grow(url: str, folder: Path, style: str) -> tuple[Gauge, Summary]:
    """Run a style on a few seeds."""
    seeds = [{"instruction": f"Tell what {n} is in words.", "output": str(n)} for n in range(50)]
    gauge = Gauge(ROWS[style] * 4 // 5)
    summary = evolgen.self_instruct(
        seeds=seeds, out=folder / f"{style}.jsonl", n=ROWS[style], model="m", base_url=url, concurrency=IN_FLIGHT,
        store=folder / f"{style}.sqlite", observer=gauge, style=style,
    )  # fmt: skip
    return gauge, summary


def main() -> None:
    print(f"growing: {LATENCY * 1000:.0f} ms latency, {IN_FLIGHT} in flight")
    with running(LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        bare = measure("bare", url, 2000, IN_FLIGHT, Path(folder))
        report(bare, "bare loop")
        for style in ROWS:
            gauge, summary = grow(url, Path(folder), style)
            occupancy = gauge.call_seconds / (IN_FLIGHT * gauge.seconds)
            rate = gauge.answers.total() / gauge.seconds
            print(
                f"  {style}: {summary.accepted:,} rows in {summary.seconds:.1f} s, {summary.requests:,} requests, "
                f"{summary.surplus} of them surplus\n    occupancy {occupancy:.0%} over {gauge.seconds:.1f} s "
                f"({', '.join(f'{role} {count}' for role, count in gauge.answers.items())}), "
                f"rate {rate / bare['rate']:.2f} of the bare loop's"
            )


if __name__ == "__main__":
    main()
