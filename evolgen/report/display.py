"""What a run shows on stderr while it goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from evolgen.errors import Denied, Stopped
from evolgen.events import Event, Failed, Fetching, Notice, Planned, StopRequested, Working
from evolgen.records import inert
from evolgen.report.forecast import Forecast, Pace, time_left
from evolgen.report.screen import Screen
from evolgen.report.tally import Tally

LIVE_EVERY = 0.1
PLAIN_EVERY = 10.0


class Display:
    """An observer that writes to stderr; use it as a context manager.

    Stdout is never touched. On a narrow terminal the live line loses its end, and the time left is at its beginning.
    """

    def __init__(self) -> None:
        self._console = Screen(stderr=True, soft_wrap=True)
        self._tally = Tally()
        self._every = LIVE_EVERY if self._console.is_terminal else PLAIN_EVERY
        self._started = time.monotonic()
        self._next = self._started + self._every
        self._forecast = Forecast(Planned(0, None))
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[left]}"),
            BarColumn(bar_width=min(20, self._console.width // 8)),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            console=self._console,
            expand=True,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._rows: TaskID | None = None
        self._fetch: TaskID | None = None
        self._fetched = Pace()
        self._step: TaskID | None = None
        self._working: Working | None = None
        self._worked = Pace()
        self._warned: set[str] = set()

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        self._tally(event)
        match event:
            case Planned():
                self._forecast, self._tally, self._started = Forecast(event), Tally(), now
                if self._rows is not None:  # of the stage before
                    self._progress.remove_task(self._rows)
                self._rows = self._progress.add_task("", total=self._forecast.total, left="")
                self._next = now + self._every
            case Notice(text=text):
                self._say(text)
            case Fetching():
                self._show_fetching(event, now)
            case Working():
                self._show_working(event, now)
            case Failed(error=error) if error.rule not in self._warned and not isinstance(error, Denied):
                self._warned.add(error.rule)
                what = "the row is rejected" if event.final else "asking again"
                self._say(f"{error}: {what} (said once for each kind of failure)")
            case StopRequested(reason=reason, waits=True) if isinstance(reason, Stopped) and self._tally.in_flight:
                self._say(f"stopping: {self._tally.in_flight} calls in flight finish first (Ctrl-C stops at once)")
        self._forecast.heard(self._tally, now)
        if now >= self._next and self._rows is not None:
            self._next = now + self._every
            self._show(self._rows, now)

    def _show(self, task: TaskID, now: float) -> None:
        tally, forecast = self._tally, self._forecast
        tokens = tally.prompt_tokens + tally.completion_tokens
        rate = tally.answers / max(0.001, now - self._started)
        left = time_left(forecast.seconds_left(tally, now))
        text = (
            f"{forecast.rows(tally)} | {tally.requests} requests ({rate:.1f} answers/s), {tally.replayed} replayed | "
            f"{tokens:,} tokens{self._cost(tally)}{self._yield(tally)}"
        )
        if self._console.is_terminal:
            self._progress.update(task, description=text, completed=forecast.done(tally), left=left)
        else:
            self._say(f"{text} | {left}" if left else text)

    def _cost(self, tally: Tally) -> str:
        """What was paid so far, where that is known."""
        return f", ${tally.cost:.4f}" if tally.cost else ""

    def _yield(self, tally: Tally) -> str:
        """Where a number of rows is wanted: the share that is accepted, and what that says of the answers to come."""
        answers = self._forecast.answers_left(tally) if self._forecast.wanted else None
        if answers is None:
            return ""
        share = tally.accepted / tally.candidates
        return f" | yield {share:.0%}, about {answers:,.0f} more answers for {self._forecast.total:,} rows"

    def _show_fetching(self, event: Fetching, now: float) -> None:
        if self._fetch is None:
            self._fetch = self._progress.add_task(inert(f"fetching {event.name}"), total=event.total, left="")
            self._say(f"fetching {event.name} ({event.total / 1e6:.0f} MB, once)")
        self._fetched.heard(now, event.done)
        left = time_left(self._fetched.seconds_for(event.total - event.done, now))
        self._progress.update(self._fetch, completed=event.done, visible=event.done < event.total, left=left)

    def _show_working(self, event: Working, now: float) -> None:
        before, self._working = self._working, event
        if before is None or before.doing != event.doing or before.done > event.done:
            self._worked = Pace()
        self._worked.heard(now, event.done)
        left = time_left(self._worked.seconds_to(event.total, now) if event.total else None)
        if self._console.is_terminal:
            if self._step is None:
                self._step = self._progress.add_task("", left="")
            text = inert(f"{event.doing} {event.done:,}")
            self._progress.update(self._step, description=text, completed=event.done, total=event.total, left=left)
        elif now >= self._next:
            self._next = now + self._every
            of = f" of {event.total:,}" if event.total else ""
            self._say(f"{event.doing}: {event.done:,}{of} rows{left and f', {left}'}")

    def _say(self, text: str) -> None:
        self._console.print(f"evolgen: {text}")
