"""Self-Instruct as a whole: exactly N rows, whatever the teacher does, the same bytes in whatever order it answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rouge_score import rouge_scorer

import evolgen
from evolgen.asking import Request
from evolgen.events import Committed, Event
from evolgen.pauses import Backoff
from evolgen.records import Record
from tests.conftest import ROOT, rows
from tests.running import run
from tests.teacher import Body, Teacher, completion, digest, kind, refusal, sensible, sentence

SEED_TASKS = ROOT / "examples" / "seed_tasks.jsonl"
GOLDEN = Path(__file__).parent.parent / "golden"
PATIENCE = 300

CRAFTS = ["rope", "salt", "butter", "glass", "paper", "ink", "soap", "cloth", "nails", "wine"]
FEW: Any = [
    {"instruction": f"{word} how people made {word} before machines.", "output": f"By hand, {word}."} for word in CRAFTS
]


def half_repeated(body: Body) -> str:
    """Half of its tasks are of the same few, again and again, some in other words."""
    if kind(body) != "invent":
        return sensible(body)
    tasks = []
    for number in range(7):
        seed = f"{digest(body)} {number}"
        if hashlib.sha256(seed.encode()).digest()[0] % 2:
            repeated = sentence(str(int(digest(body)[:2], 16) % 20))
            tasks.append(repeated if number % 2 else repeated.replace("Explain", "Describe to me"))
        else:
            tasks.append(sentence(seed))
    return json.dumps({"tasks": tasks})


def by_body(reply: Callable[[Body], str]) -> Callable[[Request], str]:
    """A script that answers as a loopback teacher would."""

    def script(request: Request) -> str:
        messages = [{"role": role, "content": content} for role, content in request.messages]
        return reply({"messages": messages, "sample": request.sample})

    return script


def replying(reply: Callable[[Body], str], longest: float = 0.0) -> Callable[[Body], Any]:
    """The same over HTTP, after a moment that is drawn."""
    moments = random.Random(1)

    async def replied(body: Body) -> web.StreamResponse:
        await asyncio.sleep(moments.random() * longest)
        return completion(reply(body))

    return replied


def test_exactly_n_from_a_teacher_that_repeats_itself_half_of_the_time(teacher: Teacher) -> None:
    teacher.reply = replying(half_repeated)
    summary = evolgen.self_instruct(seeds=FEW, out="out.jsonl", n=200, model="m", base_url=teacher.url)
    accepted, rejected = rows(Path("out.jsonl")), rows(Path("out.rejected.jsonl"))
    assert summary.complete
    assert len(accepted) == summary.accepted == 200
    assert len(rejected) == summary.rejected == summary.candidates - 200
    assert 0.3 < summary.by_rule["rouge-l"] / summary.candidates < 0.7
    keys = {key for row in accepted + rejected for key in row["provenance"]["requests"]}
    assert summary.requests == len(teacher.calls) == len(keys) + summary.surplus
    assert summary.surplus < 60, "few paid answers are left over"


def test_novelty_is_what_brute_force_decides_over_a_whole_run() -> None:
    """Each instruction against all seeds, all data that it must differ from, and all of the pool before it."""
    Path("known.txt").write_text("\n".join(sentence(str(number)) for number in range(10)) + "\n")
    committed: list[Record] = []

    def observe(event: Event) -> None:
        if isinstance(event, Committed):
            committed.append(event.row)

    evolgen.self_instruct(
        seeds=FEW, out="out.jsonl", n=150, script=by_body(half_repeated), against="known.txt", tokenizer="rouge",
        observer=observe,
    )  # fmt: skip
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    known = [seed["instruction"] for seed in FEW] + Path("known.txt").read_text().splitlines()
    near, task, sources = 0, "", set()
    for row in committed:
        match = row.rejection.match if row.rejection else None
        if match is None and row.instruction == task:
            continue  # another instance of the same task
        scores = [scorer.score(row.instruction, other)["rougeL"].fmeasure for other in known]
        if match is not None:
            assert match.score == max(scores) > 0.7
            assert match.text == known[scores.index(match.score)]
            sources.add(match.source)
            near += 1
        else:
            assert max(scores) <= 0.7
            task = row.instruction
            known.append(task)
    assert near > 50
    assert len(known) > 100
    assert {"out", "known.txt"} <= {source.split(":")[0] for source in sources}


@pytest.mark.slow
def test_the_same_bytes_whatever_the_order_and_however_often_killed(teacher: Teacher) -> None:
    def reply(body: Body) -> str:
        if kind(body) == "invent" and digest(body)[0] == "0":
            return "I'd rather not."
        return half_repeated(body)

    teacher.reply = replying(reply, 0.02)

    def made(folder: str, concurrency: int) -> bytes:
        evolgen.self_instruct(
            seeds=FEW, out=f"{folder}/out.jsonl", n=250, model="m", base_url=teacher.url, concurrency=concurrency,
            store=f"{folder}/store.sqlite", lag=20,
        )  # fmt: skip
        return Path(folder, "out.jsonl").read_bytes() + Path(folder, "out.rejected.jsonl").read_bytes()

    one = made("one", 1)
    assert made("many", 50) == one
    assert b'"unread"' in one
    Path("seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in FEW))
    command = [sys.executable, "-m", "evolgen", "self-instruct", "seeds.jsonl", "-o", "killed/out.jsonl", "-n", "250"]
    options = ["--model", "m", "--base-url", teacher.url, "--store", "killed/store.sqlite", "--lag", "20"]
    usual, victims = teacher.reply, list[subprocess.Popen[bytes]]()

    async def killing(body: Body) -> web.StreamResponse:
        if len(teacher.calls) >= at and victims:
            victims.pop().kill()
        response: web.StreamResponse = await usual(body)
        return response

    teacher.reply = killing
    for calls in (3, 60, 150):
        at = len(teacher.calls) + calls
        victim = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        victims.append(victim)
        assert victim.wait(PATIENCE) == -9
    teacher.reply = usual
    assert made("killed", 16) == one


def test_a_clean_stop_repeats_nothing(teacher: Teacher) -> None:
    """Ctrl-C while some requests wait for their turn in the pool."""
    Path("seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in FEW))
    command = [sys.executable, "-m", "evolgen", "self-instruct", "seeds.jsonl", "-o", "out.jsonl", "-n", "250"]
    usual = replying(half_repeated, 0.02)
    victims: list[subprocess.Popen[bytes]] = []

    async def interrupting(body: Body) -> web.StreamResponse:
        if len(teacher.calls) == 120:
            victims.pop().send_signal(signal.SIGINT)
        response: web.StreamResponse = await usual(body)
        return response

    teacher.reply = interrupting
    for code in (3, 0):
        process = subprocess.Popen([*command, "--model", "m", "--base-url", teacher.url], stderr=subprocess.PIPE)
        victims.append(process)
        _, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, stderr
        assert Path("out.jsonl").exists() == (code == 0)
    assert max(Counter(teacher.asked).values()) == 1


@pytest.mark.parametrize("style", ["self-instruct", "alpaca"])
def test_golden_run(style: str) -> None:
    """Both styles on the shipped seed tasks, compared byte for byte; see tests/api/test_evolving.py."""

    def reply(body: Body) -> str:
        number = int(digest(body)[:2], 16)
        text = half_repeated(body)
        match kind(body):
            case "input_first" if number < 50:
                return "Example 1\nInput: 5\nOutput: 10\nExample 2\nInput: 5\nOutput: 11"
            case "invent" | "invent_whole":
                text = text.replace("Explain", "Draw me", number % 2)
                return text[:-number] if number < 80 else text
        return text

    summary = evolgen.self_instruct(
        seeds=SEED_TASKS, out=f"{style}.jsonl", script=by_body(reply), n=60, style=style, seed=7
    )
    assert summary.complete
    wanted = {"alpaca": {"unread", "alpaca_blocked_words"}}
    rules = wanted.get(style, {"unread", "blocked_words", "rouge-l", "conflicting_outputs"})
    assert rules <= summary.by_rule.keys()
    for name in (f"{style}.jsonl", f"{style}.rejected.jsonl"):
        assert Path(name).read_bytes() == (GOLDEN / name).read_bytes(), f"{Path(name).absolute()} differs"


def test_an_endpoint_without_schemas_is_asked_for_text_and_its_answers_are_read(teacher: Teacher) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        if "response_format" in body:
            return refusal(400, "response_format is not supported")
        match kind(body):
            case "invent":
                return completion("".join(f"{n}. {sentence(f'{digest(body)} {n}')}\n" for n in range(9, 16)))
            case "invent_whole":
                tasks = (f"{n}. Instruction: {sentence(f'{digest(body)} {n}')}\n{n}. Output: So." for n in range(4, 21))
                return completion("\n###\n".join(tasks))
            case "output_first":
                return completion("Label: a\nInput: one\n\nLabel: b\nInput: two")
            case "input_first":
                return completion("Example 1\nInput: 1\nOutput: one\n\nExample 2\nInput: 2\nOutput: two")
        return completion(sensible(body))

    teacher.reply = reply
    for style in ("self-instruct", "alpaca"):
        summary = evolgen.self_instruct(
            seeds=FEW, out=f"{style}.jsonl", n=40, model="m", base_url=teacher.url, style=style
        )
        assert summary.by_stage.get("parse", 0) == 0
        assert len(rows(Path(f"{style}.jsonl"))) == 40
    lists = [body for body in teacher.calls if kind(body).startswith("invent") and "response_format" not in body]
    assert all(body["messages"][2]["content"].startswith("1. ") for body in lists)
    assert sum("response_format" in body for body in teacher.calls) < 20, "it is learned once"


def test_a_dry_teacher_is_exit_3_and_names_the_rule_and_the_remedy() -> None:
    repeats = json.dumps({"tasks": [seed["instruction"] for seed in FEW[:7]]})
    summary = evolgen.self_instruct(seeds=FEW, out="out.jsonl", n=10, script=lambda request: repeats)
    assert not summary.complete
    assert summary.published
    assert summary.stopped is not None
    assert "-n 10 can't be reached: 0 rows are there, and the last 200 candidates gave rouge-l 200" in summary.stopped
    assert "the teacher repeats itself" in summary.stopped
    assert "--temperature" in summary.stopped
    odd = json.dumps({"tasks": ["- Name a river of some length."]})
    summary = evolgen.self_instruct(seeds=FEW, out="out.jsonl", n=10, script=lambda request: odd, store="other.sqlite")
    assert summary.stopped is not None
    assert "odd_start 200; give other seeds or another model, or leave that rule out with --no-rule odd_start" in (
        summary.stopped
    )


def test_a_failed_call_is_asked_again_in_the_next_run_and_never_done(teacher: Teacher) -> None:
    down = True

    async def reply(body: Body) -> web.StreamResponse:
        return refusal(500, "down") if down and digest(body)[0] in "0123" else completion(half_repeated(body))

    teacher.reply = reply
    settings: Any = {"seeds": FEW, "n": 80, "model": "m", "base_url": teacher.url, "attempts": 2}
    first = asyncio.run(run("self-instruct", out="out.jsonl", backoff=Backoff(first=0.0), **settings))
    assert first.by_rule["http_500"] > 5
    down = False
    second = evolgen.self_instruct(out="out.jsonl", **settings)
    assert "http_500" not in second.by_rule
    fresh = evolgen.self_instruct(out="fresh.jsonl", store="fresh.sqlite", **settings)
    assert Path("out.jsonl").read_bytes() == Path("fresh.jsonl").read_bytes()
    assert 0 < second.requests < fresh.requests


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    script = by_body(half_repeated)
    evolgen.self_instruct(seeds=FEW, out="short.jsonl", script=script, n=60)
    summary = evolgen.self_instruct(seeds=FEW, out="long.jsonl", script=script, n=90)
    assert rows(Path("long.jsonl"))[:60] == rows(Path("short.jsonl"))
    assert summary.replayed > summary.requests


def test_only_the_models_that_are_needed_are_asked_for() -> None:
    """Alpaca asks one model; a judge that isn't there does not matter."""
    script = by_body(sensible)
    evolgen.self_instruct(seeds=FEW, out="out.jsonl", script=script, n=5, style="alpaca")
    models = json.loads(Path("out.manifest.json").read_text())["models"]
    assert list(models) == ["invent"]
    evolgen.self_instruct(seeds=FEW, out="out.jsonl", script=script, n=5)
    assert list(json.loads(Path("out.manifest.json").read_text())["models"]) == ["invent", "judge", "answer"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"n": 0}, "n: "),
        ({"style": "alpaca", "seeds": [{"instruction": "No answer here."}]}, "no seed has an answer"),
        ({"no_rule": "oddstart"}, "did you mean odd_start"),
        ({"no_rule": "sorry"}, "it is not among the rules"),
        ({"against": "gone.jsonl"}, "gone.jsonl: it can't be read"),
        ({"against": "bad.jsonl"}, "--against: bad.jsonl:1"),
        ({"against": "out.jsonl"}, "would be overwritten"),
        ({"threshold": 1.0}, "threshold"),
        ({"lag": 0}, "lag"),
    ],
)
def test_wrong_settings_are_one_clear_sentence(settings: dict[str, Any], problem: str) -> None:
    Path("bad.jsonl").write_text('{"nothing": 1}\n')
    with pytest.raises(evolgen.EvolgenError) as failure:
        evolgen.self_instruct(**({"seeds": FEW, "out": "out.jsonl", "n": 5, "script": by_body(sensible)} | settings))
    assert problem in str(failure.value)
    assert not list(Path().glob("out*"))
