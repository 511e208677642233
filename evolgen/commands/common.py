"""What all commands share: who watches, the manifest, files that must not be overwritten."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evolgen.commands.command import Means
from evolgen.config import Config
from evolgen.engine.output import Output, OutputFiles
from evolgen.engine.stdout import StandardOutput
from evolgen.errors import GO_ON, UsageError
from evolgen.events import Event, Observer
from evolgen.report.summary import Summary
from evolgen.report.tally import Tally

UNANSWERED = 0.05
"""The share of the candidates that may have no answer in a run that is complete."""

TOLD_EVERY = 1024
"""Rows between two words on how far a step has come."""


class Watch:
    """One observer for all who want to know what a command does: its tally first, the run's own at last.

    It began at `started` (seconds since 1970); `seconds` is how long ago that was, whatever became of the clock since.
    """

    def __init__(self, means: Means) -> None:
        self.started = time.time()
        self._began = time.monotonic()
        self.tally = Tally()
        self._run = means.run
        self._stage = means.stage
        self._observers: list[Observer] = [self.tally]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def also(self, observer: Observer) -> None:
        self._observers.append(observer)

    def __call__(self, event: Event) -> None:
        event.told_by(self._run.id, self._stage)
        for observer in self._observers:
            observer(event)
        self._run.tell(event)


def open_output(out: Path, config: Config, means: Means) -> Output | StandardOutput:
    """Where the rows of a command go; raises UsageError where they can't."""
    if str(out) == "-":
        return StandardOutput(config.rejects, config.manifest)
    return Output(out, command=means.name, force=config.force)


def published(
    output: Output | StandardOutput, summary: Summary, manifest: Callable[[Summary], dict[str, Any]]
) -> Summary:
    """Publish what a command made, unless that would put no row in the place of rows; the Summary says which."""
    if output.would_empty(summary.accepted):
        summary = summary.model_copy(update={"published": False})
        output.set_aside(manifest(summary))
    else:
        output.publish(manifest(summary))
    return summary


def with_shortfall(summary: Summary, *, rows_expected: bool) -> Summary:
    """The same Summary; of a run that went to its end and left something undone, it says what."""
    if not summary.complete:
        return summary
    rules = ", ".join(f"{rule} {count}" for rule, count in summary.rules_by_count())
    if summary.unanswered > summary.candidates * UNANSWERED:
        stopped = f"{summary.unanswered} of {summary.candidates} candidates have no answer ({rules}); {GO_ON}"
    elif rows_expected and summary.candidates and not summary.accepted:
        stopped = f"none of {summary.candidates} candidates was accepted ({rules})"
    else:
        return summary
    return summary.model_copy(update={"complete": False, "stopped": stopped})


def refuse_reading_what_is_written(sources: Iterable[Any], out: Path) -> None:
    """Raise UsageError if a file that is read, under whatever name, is one that would be written."""
    if str(out) == "-":
        return
    files = OutputFiles(out)
    written = (files.accepted, files.rejected, files.manifest)
    for source in sources:
        if isinstance(source, dict) or str(source) == "-":
            continue
        if any(path.resolve() == Path(source).resolve() or _same_file(path, source) for path in written):
            raise UsageError(f"{source}: it is read and would be overwritten by -o {out}; name another output")


def _same_file(path: Path, other: str | Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def manifest(
    config: BaseModel, summary: Summary, started: float, packages: Iterable[str], means: Means
) -> dict[str, Any]:
    """What the manifest says beside the files' sha256: times and machine matters belong here, not in rows."""
    finished = max(time.time(), started + summary.seconds)  # the clock may have been set back
    return summary.model_dump(mode="json") | {
        "config": config.model_dump(mode="json"),
        **({} if means.defaults is None else {"defaults": {str(means.defaults.path): means.defaults.settings}}),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("evolgen", *packages)},
        },
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
    }
