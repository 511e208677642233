"""Commands on rows that people have: rows of any shape in, the same rows out, byte for byte, or with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from evolgen.commands.command import Means, Work
from evolgen.commands.common import (
    TOLD_EVERY,
    Watch,
    manifest,
    open_output,
    published,
    refuse_reading_what_is_written,
    with_shortfall,
)
from evolgen.config.decontaminate import DecontaminateConfig
from evolgen.config.dedupe import DedupeConfig
from evolgen.config.filter import FilterConfig
from evolgen.errors import Stopped, UsageError
from evolgen.events import Kept, Masked, Rejected, Working
from evolgen.formats.inputs import input_rejection, source_rows, viewed
from evolgen.formats.mapping import mapped
from evolgen.formats.opening import WAITING
from evolgen.formats.rows import RawRow, check_readable, loads
from evolgen.formats.shapes import Unusable
from evolgen.formats.texts import texts_of
from evolgen.records import Rejection, Texts
from evolgen.report.preview import SHOWN
from evolgen.report.summary import Summary, summarize

Curating: TypeAlias = FilterConfig | DedupeConfig | DecontaminateConfig

Rejecting: TypeAlias = Callable[[RawRow, Rejection], None]


def curate(config: Curating, means: Means, work: Callable[[Curation], dict[str, Any]], *, reads: Iterable[Any]) -> Work:
    """The work of a curating command: it gives each row its place and returns what its manifest says besides.

    Raises UsageError for what is wrong with the files.
    """
    reads = list(reads)
    refuse_reading_what_is_written(reads, config.out)
    check_readable(reads)
    curation = Curation(config, means)
    return lambda: curation.carry_out(work)


class Curation:
    """One run of a curating command: reads rows, writes each to one of two files, and publishes both at the end.

    Where it ends early, what was written is thrown away: making it again costs nothing.
    """

    def __init__(self, config: Curating, means: Means) -> None:
        self.means = means
        self.watch = Watch(means)
        self._config = config
        self._output = open_output(config.out, config, means)
        self._kept = 0  # and not told yet: an event for each would cost as much as the rest
        self._first: list[Any] = []

    def carry_out(self, work: Callable[[Curation], dict[str, Any]]) -> Summary:
        """Do the work and publish; a stop from outside, or a disk that fails, is told in the summary."""
        WAITING.set(self.means.run.stopping.check)
        with contextlib.closing(self._output):
            try:
                facts = work(self)
                self._tell_kept()
                summary = with_shortfall(self._summary(), rows_expected=False)
                return published(self._output, summary, lambda summary: self._manifest(summary) | facts)
            except Stopped as stopped:
                reason = str(stopped)
            except OSError as error:
                where = error.filename or tempfile.gettempdir()
                reason = (
                    f"{where}: {error.strerror or error}; free some space there, or name another folder for temporary "
                    "files with TMPDIR"
                )
            except BaseException:
                self._output.discard()
                raise
            self._output.discard()
            return self._summary(reason)

    def usable_rows(self, reject: Rejecting | None = None) -> Iterator[tuple[RawRow, Texts]]:
        """The rows of the input with what they say; those that say nothing readable are rejected."""
        reject = reject or self.reject
        fatal = "--strict" if self._config.strict else None
        usable, first = 0, None
        for number, row in enumerate(source_rows(self._config.inputs, "inputs", self._config.reading)):
            if not number % TOLD_EVERY:
                self.tell("reading", number)
            try:
                texts = viewed(row, texts_of, fatal)
            except Unusable as problem:
                first = first or f"{row.place}: {problem}"
                reject(row, input_rejection(row, problem))
            else:
                usable += 1
                yield row, texts
        if first is not None and not usable:
            raise UsageError(f"no row of the input can be read: {first}")

    def against_rows(self, sources: Iterable[Any]) -> Iterator[tuple[RawRow, Texts]]:
        """The rows that those of the input are compared with, and what they say; each must be readable."""
        for number, row in enumerate(source_rows(sources, "against", self._config.reading)):
            if not number % TOLD_EVERY:
                self.tell("reading --against", number)
            yield row, viewed(row, texts_of, fatal="--against")

    def keep(self, row: RawRow, *, masked: bool = False) -> None:
        """Write a row that is kept."""
        line = row.as_line()
        self._output.write_line(line + b"\n", accepted=True)
        self._kept += 1
        if len(self._first) < SHOWN:
            self._first.append(mapped(loads(line), self._config.map))
        if masked:
            self.watch(Masked())

    def reject(self, row: RawRow, rejection: Rejection) -> None:
        """Write a row with its rejection."""
        self._output.write_line(row.as_rejected(rejection) + b"\n", accepted=False)
        self.watch(Rejected(rejection))

    def tell(self, doing: str, done: int, total: int | None = None) -> None:
        """Say how far a step has come; raises Interrupted if an end was asked for."""
        self.means.run.stopping.check()
        self._tell_kept()
        self.watch(Working(doing, done, total))

    def _tell_kept(self) -> None:
        if self._kept:
            self.watch(Kept(self._kept, tuple(self._first)))
            self._kept = 0

    def _manifest(self, summary: Summary) -> dict[str, Any]:
        return manifest(self._config, summary, self.watch.started, ("numpy", "rapidfuzz"), self.means)

    def _summary(self, stopped: str | None = None) -> Summary:
        return summarize(
            self.watch.tally,
            command=self.means.name,
            pipeline=self.means.name,
            files=self._output.files,
            stopped=stopped,
            published=stopped is None,
            seconds=self.watch.seconds,
        )
