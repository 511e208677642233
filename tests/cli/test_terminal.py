"""No text that comes from an endpoint, a file or a row does anything to a terminal."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from evolgen.cli.batches import _show
from evolgen.cli.chat import _tell, _turn
from evolgen.commands.batches import BatchInfo
from evolgen.commands.chatting import open_chat
from evolgen.events import Fetching, Notice, Planned, Working
from evolgen.records import inert
from evolgen.report.closing import _short
from evolgen.report.display import Display
from tests.conftest import ROOT
from tests.program import evolgen
from tests.teacher import Body, Teacher, completion, refusal

TITLE, WIPE = "\x1b]0;owned\x07", "\x1b[2J"
EVIL = f"{TITLE}{WIPE}\x9b31m\u202e\u2066\x7f\r[b]:boom:"

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\x7f\r[b]:boom:"


@given(st.text(st.sampled_from("ab\n\t\r\x1b\x00\x7f\x80\x9f\xa0é\u202a\u2069\u2028\ud800\udfff\U0001f600")))
def test_nothing_is_left_that_acts_and_all_else_stays(text: str) -> None:
    shown = inert(text)
    assert ACTS.search(shown.replace("\r\n", "\n")) is None
    assert inert(shown) == shown
    if not ACTS.search(text):
        assert shown == text


def test_what_it_makes_of_them() -> None:
    assert inert(EVIL) == SHOWN
    assert inert("a\r\nb\tc\n") == "a\r\nb\tc\n"


async def failing(body: Body) -> web.StreamResponse:
    return refusal(401, EVIL)


async def refusing(body: Body) -> web.StreamResponse:
    return refusal(400, EVIL)


async def saying(body: Body) -> web.StreamResponse:
    return completion(f"Say {EVIL}")


@pytest.mark.parametrize("reply", [failing, refusing, saying], ids=lambda reply: reply.__name__)
@pytest.mark.parametrize("command", ["evolve", "respond", "chat"])
def test_a_command_that_asks(teacher: Teacher, command: str, reply: object) -> None:
    teacher.reply = reply  # type: ignore[assignment]
    Path("in.jsonl").write_text(json.dumps({"instruction": "What does \u202ethis say?"}) + "\n", "utf-8")
    if command == "chat":
        arguments, stdin = ["chat", f"m{TITLE}"], b"What?"
    else:
        arguments, stdin = [command, "in.jsonl", "-o", "out.jsonl", "--model", f"m{TITLE}", "--attempts", "1"], b""
    done = subprocess.run(
        [sys.executable, "-m", "evolgen", *arguments, "--base-url", teacher.url], input=stdin, capture_output=True
    )
    _check(done.stdout, done.stderr)
    if command == "chat":
        assert SHOWN.split(r"\r", maxsplit=1)[0].encode() in done.stdout + done.stderr
    elif reply is not saying:
        assert rb"\x1b]0;owned\x07\x1b[2J" in done.stderr
    assert b"Traceback" not in done.stderr


def test_files_and_names_that_are_shown() -> None:
    Path(f"no{TITLE}.toml").write_text(f"nonsense = '{TITLE}", "utf-8")
    for arguments in (
        ["filter", f"nope{WIPE}.jsonl", "-o", "filtered.jsonl"],
        ["run", f"no{TITLE}.toml"],
        ["models", "info", f"nope{TITLE}.gguf"],
        ["models", "info", f"nope{TITLE}.gguf", "--debug"],
        ["models", "rm", f"nope{TITLE}"],
    ):
        done = evolgen(*arguments)
        _check(done.stdout.encode(), done.stderr.encode())
        assert r"\x1b" in done.stderr


def test_rows_that_are_shown_at_the_end(teacher: Teacher) -> None:
    """Writing that turns around is fit for a dataset, and for a terminal as an escape."""

    async def turning(body: Body) -> web.StreamResponse:
        return completion("The word is \u202e[b]:boom:\u202c, as said.")

    teacher.reply = turning
    Path("in.jsonl").write_text(json.dumps({"instruction": "Say \u2066it\u2069."}) + "\n", "utf-8")
    done = evolgen("respond", "in.jsonl", "-o", "out.jsonl", "--model", "m", "--base-url", teacher.url)
    _check(done.stdout.encode(), done.stderr.encode())
    assert r"Say \u2066it\u2069." in done.stdout
    assert "\\u202e[b]:boom:\\u202c" in "".join(done.stdout.split())
    assert "\u202e" in Path("out.jsonl").read_text("utf-8"), "a file has rows as they are"
    assert ACTS.search(_short(EVIL, 80)) is None


def test_batches_that_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sent = datetime(2026, 1, 1, tzinfo=UTC)
    told = BatchInfo(id=WIPE, model=TITLE, endpoint="", sent=sent, questions=1, status=EVIL, answered=1, failed=0)
    _show([told], as_json=False)
    printed = capsys.readouterr().out
    _check(printed.encode())
    assert r"\x1b[2J" in printed


@pytest.mark.parametrize("live", [False, True])
def test_the_display(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, live: bool) -> None:
    if live:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
    with Display() as display:
        for event in (Planned(1, None), Notice(EVIL), Fetching(EVIL, 1, 2), Working(EVIL, 1, 2)):
            display(event)
    told = capsys.readouterr()
    assert SHOWN in told.err
    assert told.out == ""
    if live:
        assert not any(each in told.err for each in (TITLE, WIPE, "\x9b", "\u202e"))
    else:
        _check(told.err.encode())


def test_chat(teacher: Teacher, capsys: pytest.CaptureFixture[str]) -> None:
    teacher.reply = saying
    with open_chat(f"m{TITLE}", base_url=teacher.url) as chat:
        for text in ("Hi", f"/nope{WIPE}", f"/params {WIPE}=1"):
            _turn(chat, text)
        _tell(chat.model)
        assert chat.turns[-1]["content"] == f"Say {EVIL}", "what is kept is what was said"
    told = capsys.readouterr()
    assert SHOWN in told.out
    _check(told.out.encode(), told.err.encode())


def test_all_that_is_printed_passes_through_here() -> None:
    """Plain prints are inert or JSON, and what rich draws goes to a `Screen`."""
    for path in (ROOT / "evolgen" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and node.args:
                printed = ast.unparse(node.args[0])
                assert re.search(r"\binert\(|json|__version__", printed), f"{path}: print({printed})"
    for path in (ROOT / "evolgen").rglob("*.py"):
        drawn = re.findall(r"\bConsole\(.*", path.read_text("utf-8"))
        allowed = {"screen.py": ["Console):"], "closing.py": ["Console(), width)]"]}.get(path.name, [])
        assert [each for each in drawn if each not in allowed] == [], path


def _check(*printed: bytes) -> None:
    for text in printed:
        assert ACTS.search(text.decode("utf-8")) is None, text
