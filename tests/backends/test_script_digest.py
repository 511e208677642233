"""The answers of one function are never taken for those of another."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.asking import Request
from evolgen.backends.script_digest import digest_of
from tests.conftest import rows

WORD = "river"


def with_helper(request: Request) -> str:
    return helper() + WORD


def helper() -> str:
    return "a "


def again(request: Request) -> str:
    return again(request) if request else str(random.random())


def made(word: Any, *, default: Any = None) -> Callable[[Request], str]:
    def script(request: Request, more: Any = default) -> str:
        return f"{word} {more}"

    return script


class Stateful:
    def __call__(self, request: Request) -> str:
        return "x"

    answer = __call__


TOLD: list[Callable[..., Any]] = [
    with_helper, again, made("a"), made(["a", {"b": (1, 2.5, None)}]), made("a", default="b"), made(helper),
    functools.partial(made, "x"), functools.partial(made, "y"), lambda request: "a", lambda request: "b",
]  # fmt: skip


def test_what_can_be_told_is_told_apart_and_always_the_same() -> None:
    digests = [digest_of(function) for function in TOLD]
    assert None not in digests
    assert len(set(digests)) == len(TOLD)
    assert digests == [digest_of(function) for function in TOLD]
    assert digest_of(made("a")) == digest_of(made("a"))


@pytest.mark.parametrize(
    "function", [made(random.Random(1)), Stateful(), Stateful().answer, made(Stateful()), made([Stateful()]), [].append]
)
def test_what_has_a_state_can_not_be_told(function: Callable[..., Any]) -> None:
    assert digest_of(function) is None


def test_a_changed_helper_or_global_is_another_function(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(with_helper)
    monkeypatch.setattr(sys.modules[__name__], "WORD", "lake")
    after = digest_of(with_helper)
    monkeypatch.setattr(sys.modules[__name__], "helper", lambda: "the ")
    assert len({before, after, digest_of(with_helper)}) == 3


def test_it_is_the_same_in_another_process() -> None:
    command = "from tests.backends.test_script_digest import *; print(*map(digest_of, TOLD))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == " ".join(str(digest_of(function)) for function in TOLD), done.stderr


def respond(script: Callable[[Request], str]) -> tuple[int, str]:
    summary = evolgen.respond(inputs=[{"instruction": "Name a river."}], out="out.jsonl", script=script)
    return summary.replayed, rows(Path("out.jsonl"))[0]["output"]


def test_a_function_replays_its_own_answers_only() -> None:
    assert respond(lambda request: "The Po.") == (0, "The Po.")
    for word in ("Rhine", "Danube", "Rhine"):
        expected = f"{word} None"
        replayed, said = respond(made(word))
        assert said == expected
    assert replayed == 1
    assert respond(lambda request: "The Elbe.") == (0, "The Elbe.")


def test_the_answers_of_what_can_not_be_told_are_not_kept() -> None:
    for _ in range(2):
        assert respond(Stateful()) == (0, "x")
    assert not Path(".evolgen").exists()
