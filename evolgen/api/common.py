"""What all commands share: settings, who watches, the manifest, files that must not be overwritten."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evolgen.config import Config, explain_invalid
from evolgen.engine.events import Event, Observer, Tally
from evolgen.engine.output import OutputFiles
from evolgen.errors import Interrupted, UsageError
from evolgen.prices import Prices
from evolgen.report.summary import Summary

TOLD_EVERY = 1024
"""Rows between two words on how far a step has come."""

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound=Config)


class Watch:
    """One observer for all who want to know; the tally hears first. A run that asks knows its models' `prices`."""

    def __init__(self, observer: Observer | None) -> None:
        self.started = time.time()
        self.tally = Tally()
        self.prices: Prices | None = None
        self._observers: list[Observer] = [self.tally] if observer is None else [self.tally, observer]

    def also(self, observer: Observer) -> None:
        self._observers.append(observer)

    def __call__(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)


def configured(model: type[ConfigT], config: ConfigT | None, settings: dict[str, Any]) -> ConfigT:
    """A config from settings given by name, on top of a whole one where there is one."""
    try:
        given = {name: getattr(config, name) for name in config.model_fields_set} if config else {}
        return model(**(given | settings))
    except ValidationError as error:
        raise UsageError(explain_invalid(error, model)) from error


def refuse_reading_what_is_written(sources: Iterable[Any], out: Path) -> None:
    """Raise UsageError if a file that is read, under whatever name, is one that would be written."""
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


def manifest(config: BaseModel, summary: Summary, started: float, packages: Iterable[str]) -> dict[str, Any]:
    """What the manifest says beside the files' sha256: times and machine matters belong here, not in rows."""
    return summary.model_dump(mode="json") | {
        "config": config.model_dump(mode="json"),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("evolgen", *packages)},
        },
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, also where an event loop is running already (a notebook): then in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(asyncio.run, work).result()
    try:
        return asyncio.run(work)
    except asyncio.CancelledError as error:
        raise Interrupted("stopped at once; calls in flight were given up, what had come is stored") from error
