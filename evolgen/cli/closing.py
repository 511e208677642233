"""The closing words of a run, on stdout: a few rows, the funnel, and where the files are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evolgen.pauses import duration
from evolgen.report.estimate import Estimate
from evolgen.report.preview import examples, tasks
from evolgen.report.summary import Summary

CELL = 160
"""Characters of a text that the table shows."""


def show(summary: Summary, seeds: Iterable[str | Path | dict[str, Any]]) -> None:
    """Print what came of a run, for a person."""
    console = Console(highlight=False)
    if summary.estimate is not None:
        for line in (*_estimate(summary.estimate), *_probed(summary)):
            console.print(line, markup=False, soft_wrap=True)
        return
    if summary.published and summary.accepted:
        console.print(_evolutions(summary, seeds) if summary.pipeline == "evol-instruct" else _tasks(summary))
    console.print(_stages(summary) if summary.stages else _funnel(summary))
    for line in _closing_lines(summary):
        console.print(line, markup=False, soft_wrap=True)


def show_curation(summary: Summary) -> None:
    """Print what came of a curating command, for a person."""
    console = Console(highlight=False)
    table = Table(title=summary.pipeline, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    table.add_row("in", f"{summary.candidates:,}", "rows")
    table.add_row("kept", f"{summary.accepted:,}", f"{summary.masked:,} of them masked" if summary.masked else "")
    table.add_row("rejected", f"{summary.rejected:,}", _by_count(summary.by_stage))
    for rule, count in sorted(summary.by_rule.items(), key=lambda item: -item[1]):
        table.add_row("", f"{count:,}", rule)
    console.print(table)
    console.print(f"{summary.seconds:.1f} s, {summary.rows_per_second:,.0f} rows a second", soft_wrap=True)
    if summary.requests or summary.replayed:
        tokens = summary.tokens.prompt
        console.print(f"{summary.requests} requests, {tokens:,} tokens, {summary.replayed} embeddings replayed")
    for line in _files(summary):
        console.print(line, markup=False, soft_wrap=True)


def _by_count(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _evolutions(summary: Summary, seeds: Iterable[str | Path | dict[str, Any]]) -> Table:
    return _rows(("seed", "operator", "evolved", "answer"), examples(summary.out, seeds))


def _tasks(summary: Summary) -> Table:
    shown = tasks(summary.out)
    if any(task.input for task in shown):
        return _rows(("instruction", "input", "output"), shown)
    return _rows(("instruction", "output"), [(task.instruction, task.output) for task in shown])


def _rows(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(title="Some of the rows", title_justify="left", show_lines=True, expand=True)
    for name in columns:
        table.add_column(name, ratio=None if name == "operator" else 1, no_wrap=name == "operator")
    for row in rows:
        table.add_row(*(Text(_short(text)) for text in row))  # as it is: "[b]" is no markup here
    return table


def _funnel(summary: Summary) -> Table:
    table = Table(title="The funnel", title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    table.add_row("asked", str(summary.candidates), "candidates")
    table.add_row("parsed", str(summary.parsed), "held an instruction")
    table.add_row("rejected", str(summary.rejected), _by_count(summary.by_stage))
    for rule, count in sorted(summary.by_rule.items(), key=lambda item: -item[1]):
        table.add_row("", str(count), rule)
    table.add_row("accepted", str(summary.accepted), "rows")
    return table


def _stages(summary: Summary) -> Table:
    table = Table(title="The stages", title_justify="left", box=None, pad_edge=False)
    for name in ("stage", "candidates", "accepted", "rejected", ""):
        table.add_column(name, justify="right" if name in ("candidates", "accepted", "rejected") else "left")
    for stage in summary.stages:
        rules = sorted(stage.by_rule.items(), key=lambda item: -item[1])
        counts = (str(count) for count in (stage.candidates, stage.accepted, stage.rejected))
        table.add_row(stage.pipeline, *counts, _by_count(dict(rules)))
    return table


def _closing_lines(summary: Summary) -> Iterable[str]:
    tokens = summary.tokens
    yield (
        f"{summary.requests} requests in {summary.seconds:.1f} s, {tokens.prompt:,} prompt tokens "
        f"({tokens.cached_prompt:,} cached), {tokens.completion:,} completion tokens"
    )
    if summary.tokens.total and summary.cost_usd != 0:  # a model on this machine costs nothing
        yield _cost(summary)
    if summary.no_verdict and summary.pipeline == "evol-instruct":
        yield f"{summary.no_verdict} rows were kept although the judge gave no readable verdict"
    elif summary.no_verdict:
        yield f"{summary.no_verdict} rows are of tasks for which it could not be read whether they are classifications"
    if summary.surplus and summary.published:
        yield f"{summary.surplus} answers were not needed for the rows; they stay in the store"
    oldest = f", the oldest of {summary.oldest_replayed:%Y-%m-%d %H:%M} UTC" if summary.oldest_replayed else ""
    yield f"{summary.replayed} answers replayed from {summary.store}{oldest}"
    yield from _files(summary)


def _estimate(told: Estimate) -> Iterable[str]:
    low, high = told.low, told.high
    roles = [f"{role} {low.requests[role]:,} to {high.requests.get(role, 0):,}" for role in low.requests]
    yield f"requests: {sum(low.requests.values()):,} to {sum(high.requests.values()):,} ({', '.join(roles)})"
    yield f"prompt tokens: {low.prompt_tokens:,} to {high.prompt_tokens:,}"
    yield f"completion tokens: {low.completion_tokens:,} to {high.completion_tokens:,}"
    if low.cost_usd is None or high.cost_usd is None:
        yield "cost: unknown: there is no price for the model (--prices FILE)"
    else:
        yield f"cost: ${low.cost_usd:.4f} to ${high.cost_usd:.4f}"
    if low.seconds is None or high.seconds is None:
        yield "time: each batch takes up to 24 h, and a row needs its questions answered one after the other"
    else:
        shortest, longest = duration(round(low.seconds)), duration(round(high.seconds))
        yield f"time: {shortest} to {longest} with {told.concurrency} calls in flight"
    yield "assumed: " + "; ".join(told.assumed)


def _probed(summary: Summary) -> Iterable[str]:
    if not summary.requests and not summary.replayed:
        yield "nothing was asked"
        return
    yield f"asked for this: {summary.requests} requests, {summary.replayed} answers from the store"
    if summary.tokens.total and summary.cost_usd != 0:
        yield _cost(summary)


def _cost(summary: Summary) -> str:
    if summary.cost_usd is None:
        return "cost unknown: there is no price for the model, or no count of tokens (--prices FILE)"
    each = "" if summary.cost_per_row_usd is None else f", {summary.cost_per_row_usd:.5f} a row"
    return f"cost ${summary.cost_usd:.4f}{each}"


def _files(summary: Summary) -> Iterable[str]:
    for label, path in (("accepted", summary.out), ("rejected", summary.rejected_out), ("manifest", summary.manifest)):
        shown = path if summary.published else path.with_name(f"{path.name}.part")
        if shown.exists():
            yield f"{label}: {shown}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= CELL else text[: CELL - 3] + "..."
