"""What a person is shown at the end: on screens of any width, in any script, of the last stage alone."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from evolgen.events import Committed, Event, Kept, Notice, Rejected
from evolgen.records import Provenance, Record, Rejection
from evolgen.report import closing
from evolgen.report.preview import Preview

CHINESE = "请用简单的语言解释为什么天空是蓝色的，并且举出三个日常生活中的例子来说明光的散射现象" * 3


def record(text: str, *, operator: str = "deepen", round: int = 1, root: str = "r") -> Record:
    provenance = Provenance(pipeline="evol-instruct", operator=operator, round=round, root=root)
    return Record(id=text[:16], instruction=text, input="", output=text, provenance=provenance, grown_from=text)


def committed(stage: str, *rows: Record) -> list[Event]:
    return [Committed(row).told_by("a", stage) for row in rows]


def drawn(rows: list[dict[str, str]], width: int) -> list[str]:
    """The lines of a table on a screen so wide."""
    console = Console(width=width, file=io.StringIO())
    table: Any = closing._rows(rows, width)
    assert isinstance(table, Table)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("text", ["Explain why the sky is blue to a child of five years. " * 5, CHINESE, "word" * 90])
def test_rows_fit_the_screen_and_lose_nothing_in_the_middle(width: int, text: str) -> None:
    rows = [{"seed": text, "operator": "increase_reasoning", "evolved": text, "answer": text}]
    lines = drawn(rows, width)
    assert all(cell_len(line.rstrip()) <= width for line in lines)
    shown = "".join(lines)
    if width >= 40:
        assert "increase_reasoning" in shown, "never split within the word"
        assert text[:6] in shown
    cell = closing._short(text, width)
    begun = "".join(cell.split()).removesuffix("...")
    assert "".join(text.split()).startswith(begun), "nothing is missing in the middle"
    assert cell_len(begun) > min(2.5 * width, 150), "the lines are full"


def test_of_a_chain_the_last_stage_is_shown_even_if_it_keeps_nothing() -> None:
    preview = Preview()
    rejection = Rejection(stage="filter", rule="x", reason="so")
    for event in [
        *committed("1-evolve", record("one")),
        Notice("stage 2").told_by("a", "run"),
        Rejected(rejection).told_by("a", "2-filter"),
    ]:
        preview(event)
    assert preview.rows == []
    preview(Kept(1, ({"instruction": "kept"},)).told_by("a", "3-dedupe"))
    preview(Notice("done").told_by("a", "run"))
    assert preview.rows == [{"instruction": "kept"}]


def test_seeds_are_shown_only_where_nothing_grew() -> None:
    seeds = [record(f"seed {number}", operator="seed", round=0, root=str(number)) for number in range(5)]
    preview = Preview()
    for event in committed("evolve", *seeds):
        preview(event)
    assert preview.rows == seeds[:3]
    grown = record("grown", root="0")
    for event in committed("evolve", grown, seeds[4]):
        preview(event)
    assert preview.rows == [grown]
