"""`filter`: rows that break a rule are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evolgen.commands.command import Command, Means, Printout, Work
from evolgen.config.filter import FilterConfig
from evolgen.report import closing

if TYPE_CHECKING:
    from evolgen.commands.curate import Curation
    from evolgen.curate.filters.selection import Filter


def prepare(config: FilterConfig, means: Means) -> Work:
    """Rows that are kept are written as they came; those of a rule that masks with what it found replaced."""
    from evolgen.commands.curate import curate

    chosen = load(config)
    return curate(config, means, lambda curation: _filter(config, chosen, curation), reads=config.inputs)


def load(config: FilterConfig) -> Filter:
    """The rules; raises UsageError for some that there aren't."""
    from evolgen.curate.filters.selection import select

    return select(config.preset, config.rule, config.no_rule)


def _filter(config: FilterConfig, chosen: Filter, curation: Curation) -> dict[str, Any]:
    from evolgen.records import Rejection, printable

    for row, texts in curation.usable_rows():
        complaint = chosen.judge(texts)
        if complaint is not None:
            curation.reject(row, Rejection(stage="filter", rule=complaint.rule, reason=printable(complaint.reason)))
        else:
            value = row.value if chosen.mask is None else _masked(row.value, chosen.mask, config)
            masked = value != row.value
            curation.keep(row._replace(value=value, line=None) if masked else row, masked=masked)
    return {"rules": chosen.settings}


def _masked(row: Any, mask: Callable[[str], str], config: FilterConfig) -> Any:
    """A row with each of its texts masked, also those in fields that stand for known ones."""
    from evolgen.formats.mapping import changed_at
    from evolgen.formats.texts import with_texts

    row = with_texts(row, mask)
    for path in config.map.values():
        row = changed_at(row, path, lambda value: with_texts({"output": value}, mask)["output"])
    return row


def _rules() -> str:
    from evolgen.report.rules import rules_text

    return rules_text()


FILTER = Command(
    name="filter",
    help="Reject rows that break a rule.",
    config=FilterConfig,
    reads="inputs",
    prepare=prepare,
    check=load,
    closing=closing.curation,
    printouts={"list_rules": Printout("Print every rule and preset, and stop.", _rules)},
)
