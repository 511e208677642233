"""The closing words of a run, on stdout: a few rows, the funnel, and where the files are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from evolgen.pauses import duration
from evolgen.records import inert
from evolgen.report.estimate import Estimate
from evolgen.report.summary import Summary

if TYPE_CHECKING:
    from rich.table import Table

    from evolgen.records import Record
    from evolgen.report.preview import Preview

# rich is imported where it is used: commands name their closing here, and `evolgen --help` reads all commands

LINES = 4
"""Lines of a text that the table of rows shows."""

NARROW = 20
"""Columns of a text below which the cells of a row stand below each other."""

ROWS = "Some of the rows"

Closing: TypeAlias = "Callable[[Summary, Preview, int], Iterator[Table | str]]"
"""What a person is shown of a command that has ended: tables and lines, on a screen so many columns wide."""


def show(closing: Closing, summary: Summary, preview: Preview) -> None:
    """Print what came of a run, on stderr where its rows went to stdout."""
    from evolgen.report.screen import Screen

    screen = Screen(stderr=str(summary.out) == "-")
    for part in closing(summary, preview, screen.width):
        screen.print(part, soft_wrap=isinstance(part, str))


def generation(summary: Summary, preview: Preview, width: int) -> Iterator[Table | str]:
    """Of a command that asks: rows with instruction, input and output, and the funnel."""
    return _generation(summary, [_texts(row) for row in preview.rows], width)


def evolution(summary: Summary, preview: Preview, width: int) -> Iterator[Table | str]:
    """Of evolutions: what each was, what it became and by which operator."""
    return _generation(summary, [_evolved(row) for row in preview.rows], width)


def curation(summary: Summary, preview: Preview, width: int) -> Iterator[Table | str]:
    """Of a command on rows that were there: how many are kept, and why others are not."""
    table = _counts(summary.pipeline)
    table.add_row("in", f"{summary.candidates:,}", "rows")
    table.add_row("kept", f"{summary.accepted:,}", f"{summary.masked:,} of them masked" if summary.masked else "")
    table.add_row("rejected", f"{summary.rejected:,}", _by_count(summary.by_stage))
    for rule, count in summary.rules_by_count():
        table.add_row("", f"{count:,}", rule)
    yield table
    yield f"{summary.seconds:.1f} s, {summary.rows_per_second:,.0f} rows a second"
    if summary.requests or summary.replayed:
        tokens = summary.tokens.prompt
        yield f"{summary.requests} requests, {tokens:,} tokens, {summary.replayed} embeddings replayed"
    yield from _files(summary)


def chain(summary: Summary, preview: Preview, width: int) -> Iterator[Table | str]:
    """Of several commands: rows of the last one, and what each made of its candidates."""
    if summary.published and summary.accepted and preview.rows:
        yield _rows([_texts(row) for row in preview.rows], width)
    yield _stages(summary)
    yield from _closing_lines(summary)


def _generation(summary: Summary, rows: list[dict[str, str]], width: int) -> Iterator[Table | str]:
    if summary.estimating:
        if summary.estimate is not None:
            yield from _estimate(summary.estimate)
        yield from _probed(summary)
        return
    if summary.published and summary.accepted and rows:
        yield _rows(rows, width)
    yield _funnel(summary)
    yield from _closing_lines(summary)


def _evolved(row: Record) -> dict[str, str]:
    """The cells of an evolution; a seed's own row grew from nothing."""
    return {
        "seed": row.grown_from,
        "operator": row.provenance.operator,
        "evolved": row.instruction,
        "answer": row.output,
    }


def _texts(row: Record | Any) -> dict[str, str]:
    """The cells of any row; of a conversation the user's last turn and the answer."""
    from evolgen.formats.texts import texts_of
    from evolgen.records import Record

    if not isinstance(row, Record):
        said = texts_of(row)
        return {"instruction": said.instruction, "input": said.input, "output": said.output or ""}
    if row.messages is not None:
        return {"instruction": row.messages[-2].content, "input": "", "output": row.messages[-1].content}
    return {"instruction": row.instruction, "input": row.input, "output": row.output}


def _rows(rows: list[dict[str, str]], width: int) -> Table:
    """Rows in the width that there is, each cell cut to a few lines."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    operator = max((cell_len(row[name]) for row in rows for name in columns if name == "operator"), default=0)
    wide = [name for name in columns if name != "operator"]
    column = (width - operator - 2 * len(columns)) // max(1, len(wide))
    if len(wide) > 1 and column < NARROW:
        return _stacked(rows, columns, width)
    table = Table(title=ROWS, title_justify="left", box=None, expand=True, padding=(0, 2, 1, 0))
    for name in columns:
        table.add_column(name, ratio=1 if name in wide else None, no_wrap=name not in wide)
    for row in rows:
        table.add_row(*(Text(_short(row[name], column)) for name in columns))  # as it is: "[b]" is no markup here
    return table


def _stacked(rows: list[dict[str, str]], columns: list[str], width: int) -> Table:
    """Rows on a narrow screen: a line or more for each cell, after its name."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=ROWS, title_justify="left", box=None, expand=True, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1)
    for row in rows:
        for name in columns:
            table.add_row(name, Text(_short(row[name], max(1, width - max(map(len, columns)) - 2))))
        table.add_row("", "")
    return table


def _counts(title: str) -> Table:
    """An empty table of what was counted, how many of it there are, and a word on them."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    return table


def _by_count(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _funnel(summary: Summary) -> Table:
    table = _counts("The funnel")
    table.add_row("asked", str(summary.candidates), "candidates")
    table.add_row("parsed", str(summary.parsed), "held an instruction")
    table.add_row("rejected", str(summary.rejected), _by_count(summary.by_stage))
    for rule, count in summary.rules_by_count():
        table.add_row("", str(count), rule)
    table.add_row("accepted", str(summary.accepted), "rows")
    return table


def _stages(summary: Summary) -> Table:
    from rich.table import Table

    table = Table(title="The stages", title_justify="left", box=None, pad_edge=False)
    for name in ("stage", "candidates", "accepted", "rejected", ""):
        table.add_column(name, justify="right" if name in ("candidates", "accepted", "rejected") else "left")
    for stage in summary.stages:
        counts = (str(count) for count in (stage.candidates, stage.accepted, stage.rejected))
        table.add_row(stage.pipeline, *counts, _by_count(dict(stage.rules_by_count())))
    return table


def _closing_lines(summary: Summary) -> Iterable[str]:
    tokens = summary.tokens
    yield (
        f"{summary.requests} requests in {summary.seconds:.1f} s, {tokens.prompt:,} prompt tokens "
        f"({tokens.cached_prompt:,} cached), {tokens.completion:,} completion tokens"
    )
    if summary.tokens.total and summary.cost_usd != 0:  # a model on this machine costs nothing
        yield _cost(summary)
    if summary.no_verdict and summary.command == "evolve":
        yield f"{summary.no_verdict} rows were kept although the judge gave no readable verdict"
    elif summary.no_verdict:
        yield f"{summary.no_verdict} rows are of tasks for which it could not be read whether they are classifications"
    if summary.surplus and summary.published:
        yield f"{summary.surplus} answers were not needed for the rows; they stay in the store"
    if summary.own_templates:
        yield f"templates of your own: {', '.join(summary.own_templates)}"
    oldest = f", the oldest of {summary.oldest_replayed:%Y-%m-%d %H:%M} UTC" if summary.oldest_replayed else ""
    if summary.store is not None:
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
    if str(summary.out) == "-":
        return
    for label, path in (("accepted", summary.out), ("rejected", summary.rejected_out), ("manifest", summary.manifest)):
        shown = path if summary.published else path.with_name(f"{path.name}.part")
        if shown.exists():
            yield f"{label}: {shown}"


def _short(text: str, width: int) -> str:
    """A text as it stands in a column of some width, in columns of the screen, cut to a few lines.

    >>> _short("A river in Wales that runs through Cardiff and into the sea", 12)
    'A river in\\nWales that\\nruns through\\nCardiff...'
    """
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console
    from rich.text import Text

    lines = [line.plain.rstrip() for line in Text(inert(" ".join(text.split()))).wrap(Console(), width)]
    if len(lines) > LINES:
        last = lines[LINES - 1]
        fits = cell_len(last) + 3 <= width
        lines[LINES - 1 :] = [f"{last if fits else set_cell_size(last, max(0, width - 3)).rstrip()}..."]
    return "\n".join(lines)
