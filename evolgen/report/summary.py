"""The closing summary of a run: the same numbers for the screen, for `--json` and for the manifest."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evolgen.engine.output import OutputFiles
from evolgen.report.estimate import Estimate
from evolgen.report.tally import Tally


class Tokens(BaseModel):
    """Tokens that this run paid for, as the endpoint counted them; `cached_prompt` is part of `prompt`."""

    prompt: int
    cached_prompt: int
    completion: int
    total: int


class Summary(BaseModel):
    """What came of a `command`, whose rows carry the name of their `pipeline`.

    `accepted + rejected == candidates`; `unanswered` of them have no answer and are asked again by the next run.
    `requests` are the calls that this run sent, `replayed` the answers that it took from the store, the oldest of them
    stored at `oldest_replayed`. `surplus` are answers that no row of the output needed. `cost_usd` is what this run
    paid, None where a price or a count of tokens is unknown; `costs_usd` the same
    by role (of a chain by stage). `replayed_usd` is what the answers from the store cost when they were paid, and
    `cost_per_row_usd` what an accepted row cost, with them. `masked` rows were accepted with something masked in them.
    `own_templates` were taken from `--prompts`. `complete` tells whether the run did all it was asked to; if not,
    `stopped` says why. Of a chain `stages` are the summaries of its commands. With `--estimate`, when it is
    `estimating`, no row is made, and `estimate` says what a run would take, None where that was stopped.
    """

    model_config = ConfigDict(frozen=True)

    command: str
    pipeline: str
    out: Path
    rejected_out: Path
    manifest: Path
    published: bool
    complete: bool
    stopped: str | None
    candidates: int
    parsed: int
    accepted: int
    rejected: int
    by_stage: dict[str, int]
    by_rule: dict[str, int]
    unanswered: int
    no_verdict: int
    masked: int
    requests: int
    failed_calls: dict[str, int]
    replayed: int
    oldest_replayed: datetime | None
    store: Path | None
    surplus: int
    tokens: Tokens
    cost_usd: float | None
    costs_usd: dict[str, float | None]
    replayed_usd: float | None
    cost_per_row_usd: float | None
    seconds: float
    rows_per_second: float
    own_templates: tuple[str, ...] = ()
    stages: tuple[Summary, ...] = ()
    estimating: bool = False
    estimate: Estimate | None = None

    def rules_by_count(self) -> list[tuple[str, int]]:
        """The rules that rejected rows, and how many each: the most frequent first."""
        return sorted(self.by_rule.items(), key=lambda item: -item[1])

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        rows = [
            ("candidates", f"{self.candidates:,}"),
            ("accepted", f"{self.accepted:,}"),
            ("rejected", f"{self.rejected:,}"),
            *((f"\u2003{rule}", f"{count:,}") for rule, count in self.rules_by_count()),
            ("requests", f"{self.requests:,}, {self.replayed:,} answers replayed"),
            ("tokens", f"{self.tokens.total:,}"),
            ("cost", "unknown" if self.cost_usd is None else f"${self.cost_usd:.4f}"),
            ("stopped", self.stopped or "no: complete"),
            ("rows", str(self.out) if self.published else "not published"),
        ]
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        return f"<table><caption>{html.escape(self.command)}</caption>{cells}</table>"


def summarize(
    tally: Tally,
    *,
    command: str,
    pipeline: str,
    files: OutputFiles,
    seconds: float,
    store: Path | None = None,
    stopped: str | None = None,
    published: bool = True,
    estimating: bool = False,
    delivered: int = 0,
    own_templates: tuple[str, ...] = (),
) -> Summary:
    """The summary of what a tally counted; `delivered` is how many answers lineages were given."""
    cost, earlier = tally.cost, tally.replayed_usd
    in_all = None if cost is None or earlier is None else cost + earlier
    return Summary(
        command=command,
        pipeline=pipeline,
        out=files.accepted,
        rejected_out=files.rejected,
        manifest=files.manifest,
        published=published,
        complete=stopped is None,
        stopped=stopped,
        candidates=tally.candidates,
        parsed=tally.parsed,
        accepted=tally.accepted,
        rejected=tally.rejected,
        by_stage=dict(sorted(tally.by_stage.items())),
        by_rule=dict(sorted(tally.by_rule.items())),
        unanswered=tally.unanswered,
        no_verdict=tally.notes["no_verdict"],
        masked=tally.notes["masked"],
        requests=tally.requests,
        failed_calls=dict(sorted(tally.failed_calls.items())),
        replayed=tally.replayed,
        oldest_replayed=None if tally.oldest is None else datetime.fromtimestamp(tally.oldest, UTC),
        store=store,
        surplus=delivered - tally.used,
        tokens=Tokens(
            prompt=tally.prompt_tokens,
            cached_prompt=tally.cached_tokens,
            completion=tally.completion_tokens,
            total=tally.prompt_tokens + tally.completion_tokens,
        ),
        cost_usd=cost,
        costs_usd=tally.costs,
        replayed_usd=earlier,
        cost_per_row_usd=None if in_all is None or not tally.accepted else in_all / tally.accepted,
        own_templates=own_templates,
        estimating=estimating,
        seconds=round(seconds, 3),
        rows_per_second=round(tally.candidates / max(seconds, 0.001), 1),
    )
