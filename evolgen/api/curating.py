"""`filter`, `dedupe` and `decontaminate`: rows of any shape in, the same rows out, byte for byte, or with a reason."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from evolgen.api.common import TOLD_EVERY, Watch, configured, manifest, refuse_reading_what_is_written
from evolgen.api.table import Table
from evolgen.backends.scripted import Script
from evolgen.config import DecontaminateConfig, DedupeConfig, FilterConfig
from evolgen.curate.decontaminate import Benchmarks
from evolgen.curate.dedupe import FIELD_END, compared_text
from evolgen.engine.events import Kept, Masked, Notice, Observer, Rejected, Working
from evolgen.engine.output import Output
from evolgen.errors import Interrupted, Stopped, UsageError
from evolgen.formats.inputs import input_rejection, source_rows, viewed
from evolgen.formats.rows import RawRow
from evolgen.formats.shapes import Unusable
from evolgen.formats.texts import id_of, texts_of, with_texts
from evolgen.records import Rejection, Texts, printable
from evolgen.report.summary import Summary, summarize

Curating: TypeAlias = FilterConfig | DedupeConfig | DecontaminateConfig

Rejecting: TypeAlias = Callable[[RawRow, Rejection], None]


def filter(config: FilterConfig | None = None, /, *, observer: Observer | None = None, **settings: Any) -> Summary:
    """Reject rows that break a rule: what `evolgen filter` does.

    Takes the settings of `FilterConfig`, as a whole or by name: `filter(inputs="rows.jsonl", out="kept.jsonl",
    preset="clean", rule={"min_output_words": 5})`. Rows that are kept are written as they came; those of a rule that
    masks are written with what it found replaced. Raises EvolgenError where the settings or the input are wrong.
    """
    from evolgen.curate.filters.selection import select

    config = configured(FilterConfig, config, settings)
    chosen = select(config.preset, config.rule, config.no_rule)
    with _Curation("filter", config, observer) as curation:
        for row, texts in curation.usable_rows():
            complaint = chosen.judge(texts)
            if complaint is not None:
                curation.reject(row, Rejection(stage="filter", rule=complaint.rule, reason=printable(complaint.reason)))
            else:
                value = row.value if chosen.mask is None else with_texts(row.value, chosen.mask)
                masked = value != row.value
                curation.keep(row._replace(value=value, line=None) if masked else row, masked=masked)
        return curation.finish({"rules": chosen.settings})


def decontaminate(
    config: DecontaminateConfig | None = None, /, *, observer: Observer | None = None, **settings: Any
) -> Summary:
    """Reject rows that hold items of a benchmark: what `evolgen decontaminate` does.

    Takes the settings of `DecontaminateConfig`: `decontaminate(inputs="rows.jsonl", out="kept.jsonl",
    against="benchmark.jsonl")`. Raises EvolgenError where the settings or a file are wrong.
    """
    config = configured(DecontaminateConfig, config, settings)
    benchmarks = Benchmarks(ngram=config.ngram, coverage=config.coverage, exact_ngram=config.exact_ngram)
    with _Curation("decontaminate", config, observer) as curation:
        for row in source_rows(config.against, "against"):
            texts = viewed(row, texts_of, fatal="--against")
            benchmarks.add(id_of(row.value, texts), row.place, compared_text(texts).replace(FIELD_END, "\n").strip())
        if not len(benchmarks):
            raise UsageError("--against: the benchmark holds no items")
        if benchmarks.short:
            few = f"{benchmarks.short} of {len(benchmarks)} benchmark items have fewer than {config.ngram} tokens"
            curation.watch(Notice(f"{few}: only rows with the very same question hit them"))
        for row, texts in curation.usable_rows():
            found = benchmarks.find(texts, config.field)
            if found is None:
                curation.keep(row)
            else:
                match = found.match.model_copy(update={"text": printable(found.match.text)})
                reason = printable(found.reason)
                curation.reject(row, Rejection(stage="decontaminate", rule=found.rule, reason=reason, match=match))
        return curation.finish({"items": len(benchmarks), "short_items": benchmarks.short})


def dedupe(
    config: DedupeConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Summary:
    """Reject rows that say what another row says: what `evolgen dedupe` does.

    Takes the settings of `DedupeConfig`: `dedupe(inputs="rows.jsonl", out="kept.jsonl", method="exact,minhash",
    threshold=0.8)`. Several methods run one after the other, each on the rows that the one before it kept. `script`
    answers in a teacher's place (semantic asks for embeddings). Raises EvolgenError where the settings or the input
    are wrong, or where the asking was stopped: what was paid for is stored.
    """
    config = configured(DedupeConfig, config, settings)
    with _Curation("dedupe", config, observer) as curation:
        table = Table(config, script=script, watch=curation.watch, tell=curation.tell)
        with contextlib.closing(table):
            for row in source_rows(config.against, "against"):
                table.add(row, viewed(row, texts_of, fatal="--against"), fixed=True)
            for row, texts in curation.usable_rows(table.reject):
                table.add(row, texts)
            table.dedupe()
            for number, (row, rejection) in enumerate(table.outcome()):
                if not number % TOLD_EVERY:
                    curation.tell("writing", number, len(table))
                if rejection is None:
                    curation.keep(row)
                else:
                    curation.reject(row, rejection)
            return curation.finish(table.facts())


class _Curation:
    """One run of a curating command: reads rows, writes each to one of two files, and publishes both at the end.

    Used as a context manager: where it is left by an error, what was written is thrown away.
    """

    def __init__(self, name: str, config: Curating, observer: Observer | None) -> None:
        sources, out = config.inputs, config.out
        refuse_reading_what_is_written([*sources, *getattr(config, "against", ())], out)
        self.watch = Watch(observer)
        self._name = name
        self._config = config
        self._sources = sources
        self._output = Output(out, force=config.force)
        self._kept = 0  # and not told yet: an event for each would cost as much as the rest

    def __enter__(self) -> _Curation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if kind is not None:
            self._output.discard()
        self._output.close()
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("stopped; nothing was written, and running the same command again does it all") from error
        if isinstance(error, OSError):
            where = error.filename or tempfile.gettempdir()
            raise Stopped(
                f"{where}: {error.strerror or error}; free some space there, or name another folder for temporary "
                "files with TMPDIR"
            ) from error

    def usable_rows(self, reject: Rejecting | None = None) -> Iterator[tuple[RawRow, Texts]]:
        """The rows of the input with what they say; those that say nothing readable are rejected."""
        reject = reject or self.reject
        for number, row in enumerate(source_rows(self._sources, "inputs")):
            if not number % TOLD_EVERY:
                self.tell("reading", number)
            try:
                texts = viewed(row, texts_of, fatal="--strict" if self._config.strict else None)
            except Unusable as problem:
                reject(row, input_rejection(row, problem))
            else:
                yield row, texts

    def keep(self, row: RawRow, *, masked: bool = False) -> None:
        """Write a row that is kept."""
        self._output.write_line(row.as_line() + b"\n", accepted=True)
        self._kept += 1
        if masked:
            self.watch(Masked())

    def reject(self, row: RawRow, rejection: Rejection) -> None:
        """Write a row with its rejection."""
        self._output.write_line(row.as_rejected(rejection) + b"\n", accepted=False)
        self.watch(Rejected(rejection))

    def tell(self, doing: str, done: int, total: int | None = None) -> None:
        """Say how far a step has come."""
        self._tell_kept()
        self.watch(Working(doing, done, total))

    def _tell_kept(self) -> None:
        self.watch(Kept(self._kept))
        self._kept = 0

    def finish(self, facts: dict[str, Any]) -> Summary:
        """Publish both files and the manifest, in which `facts` are added."""
        self._tell_kept()
        summary = summarize(
            self.watch.tally,
            pipeline=self._name,
            files=self._output.files,
            prices=self.watch.prices,
            seconds=time.time() - self.watch.started,
        )
        self._output.publish(manifest(self._config, summary, self.watch.started, ("numpy", "rapidfuzz")) | facts)
        return summary
