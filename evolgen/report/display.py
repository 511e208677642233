"""What a run shows on stderr while it goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from evolgen.errors import Denied, Stopped
from evolgen.events import Event, Failed, Fetching, Notice, Planned, StopRequested, Working
from evolgen.report.tally import Tally

LIVE_EVERY = 0.1
PLAIN_EVERY = 10.0


class Display:
    """An observer that writes to stderr; use it as a context manager.

    Stdout is never touched.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._tally = Tally()
        self._every = LIVE_EVERY if self._console.is_terminal else PLAIN_EVERY
        self._started = time.monotonic()
        self._next = self._started + self._every
        self._plan = Planned(0, None)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._rows: TaskID | None = None
        self._fetch: TaskID | None = None
        self._step: TaskID | None = None
        self._warned: set[str] = set()

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        self._tally(event)
        match event:
            case Planned():
                self._plan, self._tally, self._started = event, Tally(), time.monotonic()
                if self._rows is not None:  # of the stage before
                    self._progress.remove_task(self._rows)
                self._rows = self._progress.add_task("", total=event.rows or event.candidates)
                self._next = time.monotonic() + self._every
            case Notice(text=text):
                self._say(text)
            case Fetching():
                self._show_fetching(event)
            case Working():
                self._show_working(event)
            case Failed(error=error) if error.rule not in self._warned and not isinstance(error, Denied):
                self._warned.add(error.rule)
                what = "the row is rejected" if event.final else "asking again"
                self._say(f"{error}: {what} (said once for each kind of failure)")
            case StopRequested(reason=reason, waits=True) if isinstance(reason, Stopped) and self._tally.in_flight:
                self._say(f"stopping: {self._tally.in_flight} calls in flight finish first (Ctrl-C stops at once)")
        if time.monotonic() >= self._next and self._rows is not None:
            self._next = time.monotonic() + self._every
            self._show(self._rows)

    def _show(self, task: TaskID) -> None:
        tally = self._tally
        done = tally.accepted if self._plan.rows else tally.candidates
        tokens = tally.prompt_tokens + tally.completion_tokens
        rate = tally.answers / max(0.001, time.monotonic() - self._started)
        text = (
            f"{tally.accepted} accepted, {tally.rejected} rejected | {tally.requests} requests ({rate:.1f} answers/s), "
            f"{tally.replayed} replayed | {tokens:,} tokens{self._cost(tally)}{self._forecast(tally)}"
        )
        if self._console.is_terminal:
            self._progress.update(task, description=text, completed=done)
        else:
            self._say(f"{text}{self._time_left(done)}")

    def _cost(self, tally: Tally) -> str:
        """What was paid so far, where that is known."""
        return f", ${tally.cost:.4f}" if tally.cost else ""

    def _forecast(self, tally: Tally) -> str:
        """The yield so far, and what it says of a run for a number of rows."""
        if not self._plan.rows or not tally.accepted:
            return ""
        share = tally.accepted / tally.candidates
        answers = (tally.requests + tally.replayed) / tally.accepted * (self._plan.rows - tally.accepted)
        return f" | yield {share:.0%}, about {answers:,.0f} more answers for {self._plan.rows:,} rows"

    def _time_left(self, done: int) -> str:
        total = self._plan.rows or self._plan.candidates
        if not done:
            return ""
        left = (time.monotonic() - self._started) * (total - done) / done
        return f" | about {left / 60:.0f} min left" if left >= 90 else f" | about {left:.0f} s left"

    def _show_fetching(self, event: Fetching) -> None:
        if self._fetch is None:
            self._fetch = self._progress.add_task(f"fetching {event.name}", total=event.total)
            self._say(f"fetching {event.name} ({event.total / 1e6:.0f} MB, once)")
        self._progress.update(self._fetch, completed=event.done, visible=event.done < event.total)

    def _show_working(self, event: Working) -> None:
        if self._console.is_terminal:
            if self._step is None:
                self._step = self._progress.add_task("")
            self._progress.update(
                self._step, description=f"{event.doing} {event.done:,}", completed=event.done, total=event.total
            )
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self._say(f"{event.doing}: {event.done:,}{f' of {event.total:,}' if event.total else ''} rows")

    def _say(self, text: str) -> None:
        self._console.print(f"evolgen: {text}", markup=False)
