"""What is drawn while a run goes, on terminals of any width and in plain lines."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

from evolgen.events import Asked, Committed, Event, Fetching, Planned, Stored, Working
from evolgen.records import Provenance, Record
from evolgen.report import display as module
from evolgen.report.display import Display
from evolgen.report.notebook import NotebookProgress
from evolgen.usage import Usage

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

ROW = Record(
    id="a",
    instruction="Name a river.",
    input="",
    output="The Danube.",
    provenance=Provenance(pipeline="evol-instruct", operator="deepen", round=1, root="a"),
)


def answered() -> list[Event]:
    return [Asked("answer", 1), Stored("answer", "m", Usage(100, 0, 20), 0.0123)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test sets forward."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def shown(clock: SimpleNamespace, events: list[tuple[float, list[Event]]]) -> None:
    """Show events, each so many seconds after those before it."""
    with Display() as display:
        for seconds, group in events:
            clock.now += seconds
            for event in group:
                display(event)
            display._progress.refresh()


RUN: list[tuple[float, list[Event]]] = [
    (0.0, [Planned(400, 100)]),
    *((1.0, answered()) for _ in range(30)),
    (0.2, [Committed(ROW, 3), Committed(ROW, 3), Committed(ROW, 3), Committed(ROW, 3)]),
    (1.0, answered()),
]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_time_left_is_seen_on_any_terminal(
    width: int, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown(clock, RUN)
    frames = [line.rstrip() for line in re.split(r"[\r\n]+", CODES.sub("", capsys.readouterr().err)) if line.strip()]
    assert all(cell_len(frame) <= width for frame in frames)
    assert any(("2 answers; the first row" if width >= 60 else "2 answ") in frame for frame in frames)
    assert "5 min left" in frames[-1], "276 answers at one a second"
    if width >= 60:
        assert "4 accepted, 0 rejected" in frames[-1]
    if width >= 80:
        assert any("20 answers; the first row comes when its lineage ends" in frame for frame in frames)


def test_plain_lines(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    shown(clock, RUN)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == (
        "evolgen: 9 answers; the first row comes when its lineage ends | 10 requests (0.9 answers/s), 0 replayed | "
        "1,080 tokens, $0.1107"
    )
    assert last.startswith("evolgen: 29 answers; the first row")


def test_plain_lines_end_with_the_time_left(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    shown(clock, [*RUN, (9.0, answered())])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "4 accepted, 0 rejected" in last
    assert "yield 100%, about 269 more answers for 100 rows | 8 min left" in last


def test_each_step_has_a_time_of_its_own(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [(1.0, [Working("reading", 1000 * number, None)]) for number in range(20)]
    slow = [(1.0, [Working("rouge-l", 10 * number, 1000)]) for number in range(1, 30)]
    shown(clock, [*quick, *slow])  # type: ignore[list-item]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "evolgen: reading: 9,000 rows"
    assert lines[-1].startswith("evolgen: rouge-l: ")
    assert re.search(r"of 1,000 rows, (7\d|8\d) s left$", lines[-1])
    shown(clock, [*slow, *slow])  # type: ignore[list-item]
    again = capsys.readouterr().err.splitlines()
    assert re.search(r"of 1,000 rows, (7\d|8\d) s left$", again[-1]), "of a second part, from its own beginning"


def test_a_download_tells_its_time(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown(clock, [(1.0, [Fetching("m[1].gguf", 10**6 * number, 10**8)]) for number in range(1, 41)])
    drawn = CODES.sub("", capsys.readouterr().err)
    assert "60 s left" in drawn
    assert "fetching m[1].gguf" in drawn


def test_a_notebook_tells_the_same(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from evolgen.report import notebook

    monkeypatch.setattr(notebook, "time", SimpleNamespace(monotonic=lambda: clock.now))
    progress = NotebookProgress()
    said: list[str] = []
    for seconds, group in RUN:
        clock.now += seconds
        for event in group:
            progress(event)
        said.append(str(progress._bar))
    progress._bar.close()
    assert "20 answers; the first row comes when its lineage ends, 20 requests" in said[20]
    assert said[-1].endswith("4 accepted, 0 rejected, 31 requests, 5 min left]")
    assert "4/100" in said[-1]
    assert "row/s" not in said[-1].replace("rows/s", "row/s"), "and no time but that"
