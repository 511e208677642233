"""`decontaminate`: rows that hold items of a benchmark are rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evolgen.commands.command import Command, Means, Work
from evolgen.config.decontaminate import DecontaminateConfig
from evolgen.report import closing

if TYPE_CHECKING:
    from evolgen.commands.curate import Curation
    from evolgen.curate.decontaminate import Benchmarks


def prepare(config: DecontaminateConfig, means: Means) -> Work:
    """Read the benchmarks; rows that are kept are written as they came."""
    from evolgen.commands.curate import curate

    benchmarks = _benchmarks(config)
    return curate(
        config,
        means,
        lambda curation: _decontaminate(config, benchmarks, curation),
        reads=[*config.inputs, *config.against],
    )


def _benchmarks(config: DecontaminateConfig) -> Benchmarks:
    from evolgen.curate.decontaminate import Benchmarks
    from evolgen.curate.dedupe import FIELD_END, compared_text
    from evolgen.errors import UsageError
    from evolgen.formats.inputs import source_rows, viewed
    from evolgen.formats.texts import id_of, texts_of

    benchmarks = Benchmarks(ngram=config.ngram, coverage=config.coverage, exact_ngram=config.exact_ngram)
    for row in source_rows(config.against, "against", config.reading):
        texts = viewed(row, texts_of, fatal="--against")
        benchmarks.add(id_of(row.value, texts), row.place, compared_text(texts).replace(FIELD_END, "\n").strip())
    if not len(benchmarks):
        raise UsageError("--against: the benchmark holds no items")
    return benchmarks


def _decontaminate(config: DecontaminateConfig, benchmarks: Benchmarks, curation: Curation) -> dict[str, Any]:
    from evolgen.events import Notice
    from evolgen.records import Rejection, printable

    if benchmarks.short:
        few = f"{benchmarks.short} of {len(benchmarks)} benchmark items have fewer than {config.ngram} tokens"
        curation.watch(Notice(f"{few}: only rows with the very same question hit them"))
    for row, texts in curation.usable_rows():
        found = benchmarks.find(texts, config.field)
        if found is None:
            curation.keep(row)
        else:
            match = found.match.model_copy(update={"text": printable(found.match.text)})
            rejection = Rejection(stage="decontaminate", rule=found.rule, reason=printable(found.reason), match=match)
            curation.reject(row, rejection)
    return {"items": len(benchmarks), "short_items": benchmarks.short}


DECONTAMINATE = Command(
    name="decontaminate",
    help="Reject rows that hold items of a benchmark.",
    config=DecontaminateConfig,
    reads="inputs",
    prepare=prepare,
    closing=closing.curation,
)
