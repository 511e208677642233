"""`dedupe`: rows that say what another row says are rejected."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from evolgen.commands.command import Command, Means, Work
from evolgen.config.dedupe import DedupeConfig
from evolgen.report import closing

if TYPE_CHECKING:
    from evolgen.commands.curate import Curation


def prepare(config: DedupeConfig, means: Means) -> Work:
    """Several methods run one after the other, each on the rows that the one before it kept."""
    from evolgen.commands.curate import curate

    return curate(config, means, lambda curation: _dedupe(config, curation), reads=[*config.inputs, *config.against])


def _dedupe(config: DedupeConfig, curation: Curation) -> dict[str, Any]:
    from evolgen.commands.common import TOLD_EVERY
    from evolgen.commands.dedupe_rows import DedupeRows

    with contextlib.closing(DedupeRows(config, curation)) as table:
        for row, texts in curation.against_rows(config.against):
            table.add(row, texts, fixed=True)
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
        return table.facts()


DEDUPE = Command(
    name="dedupe",
    help="Reject rows that say what another row says.",
    config=DedupeConfig,
    reads="inputs",
    prepare=prepare,
    closing=closing.curation,
)
