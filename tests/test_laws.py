"""The four laws, over real HTTP and with real processes."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

import evolgen
from evolgen.pauses import Backoff
from tests.conftest import rows
from tests.running import run
from tests.teacher import Body, Teacher, completion, digest, kind, question, sensible

pytestmark = pytest.mark.anyio

IN_FLIGHT = 8
PATIENCE = 300
"""Seconds after which something hangs; a busy machine is slow and no failure."""


def start(teacher: Teacher, seeds: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "evolgen", "evolve", str(seeds), "-o", str(out), "--rounds", "2", "--json"]
    options = ["--model", "m", "--base-url", teacher.url, "--concurrency", str(IN_FLIGHT), *more]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def interrupt_after(
    calls: int, number: signal.Signals, victim: list[subprocess.Popen[bytes]], teacher: Teacher
) -> None:
    """Have the teacher send the victim a signal when that many requests have come in."""

    async def reply(body: Body) -> web.StreamResponse:
        if len(teacher.calls) == calls and victim:
            victim.pop().send_signal(number)
        await asyncio.sleep(0.01)
        return completion(sensible(body))

    teacher.reply = reply


def test_law_1_sigkill_repeats_at_most_what_was_in_flight(
    write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher
) -> None:
    seeds, out = write_seeds(40), tmp_path / "out.jsonl"
    for calls in (1, 17, 60, 130):
        victim: list[subprocess.Popen[bytes]] = []
        before = len(teacher.calls)
        interrupt_after(before + calls, signal.SIGKILL, victim, teacher)
        process = start(teacher, seeds, out)
        victim.append(process)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL
        assert not out.exists()
    process = start(teacher, seeds, out)
    stdout, _ = process.communicate(timeout=PATIENCE)
    summary = json.loads(stdout)
    assert process.returncode == 0
    assert summary["candidates"] == 80
    repeated = Counter(teacher.asked)
    assert len(teacher.asked) - len(repeated) <= 4 * IN_FLIGHT
    assert len(repeated) == 240  # each of 80 candidates was evolved, judged and answered
    assert max(repeated.values()) <= 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_law_1_a_clean_stop_repeats_nothing(
    number: signal.Signals, write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher
) -> None:
    seeds, out = write_seeds(40), tmp_path / "out.jsonl"
    victim: list[subprocess.Popen[bytes]] = []
    interrupt_after(70, number, victim, teacher)
    process = start(teacher, seeds, out)
    victim.append(process)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, stderr
    assert b"run the same command again" in stderr
    assert json.loads(stdout)["complete"] is False
    assert not out.exists()
    assert 70 <= len(teacher.calls) < 240
    process = start(teacher, seeds, out)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert max(Counter(teacher.asked).values()) == 1
    assert len(teacher.asked) == 240


def test_a_second_interrupt_stops_at_once(write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher) -> None:
    async def hang(body: Body) -> web.StreamResponse:
        await asyncio.sleep(2 * PATIENCE)
        return completion("late")

    teacher.reply = hang
    process = start(teacher, write_seeds(5), tmp_path / "out.jsonl")
    while len(teacher.calls) < 5:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
    assert b"Traceback" not in stderr


def test_law_2_the_same_bytes_whatever_the_order(
    write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher
) -> None:
    seeds = write_seeds(50)
    seeds.write_text(seeds.read_text() + '{"instruction": "Describe thing number 3."}\nnot json\n')
    shuffled = random.Random(1)

    async def reply(body: Body) -> web.StreamResponse:
        await asyncio.sleep(shuffled.random() * 0.02)
        number = int(digest(body)[:4], 16)
        if kind(body) == "answer" and number % 7 == 0:
            return completion("Sorry, no.")
        if kind(body) == "evolve" and number % 5 == 0:
            return completion("Always the same evolution.")  # a duplicate of whichever comes first
        return completion(sensible(body))

    teacher.reply = reply

    def made(name: str, concurrency: int) -> tuple[bytes, bytes]:
        out = tmp_path / name / "out.jsonl"
        evolgen.evolve(
            seeds=seeds, out=out, model="m", base_url=teacher.url, concurrency=concurrency, rounds=3,
            store=tmp_path / name / "store.sqlite", include_seeds=True,
        )  # fmt: skip
        return out.read_bytes(), out.with_name("out.rejected.jsonl").read_bytes()

    one = made("one", 1)
    assert made("many", 64) == one
    assert made("many", 8) == one, "replayed from the store"
    victim: list[subprocess.Popen[bytes]] = []
    for calls in (20, 200):
        interrupt = len(teacher.calls) + calls

        async def killing(body: Body, interrupt: int = interrupt) -> web.StreamResponse:
            if len(teacher.calls) == interrupt and victim:
                victim.pop().kill()
            return await reply(body)

        teacher.reply = killing
        process = start(teacher, seeds, tmp_path / "killed" / "out.jsonl", "--rounds", "3", "--include-seeds",
                        "--store", str(tmp_path / "killed" / "store.sqlite"))  # fmt: skip
        victim.append(process)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL
    teacher.reply = reply
    assert made("killed", 16) == one
    rejected = [json.loads(line)["rejection"]["rule"] for line in one[1].splitlines()]
    assert {"sorry", "exact", "unreadable"} <= set(rejected)


RUBBISH: list[Callable[[], web.Response]] = [
    lambda: completion(""),
    lambda: completion(None),
    lambda: completion("Sorry, I can't."),
    lambda: completion("I am sorry. " + "But here is much more to say about this. " * 12),
    lambda: completion("#Rewritten Prompt#: describe it better"),
    lambda: completion("and so it is the"),
    lambda: completion("... !?"),
    lambda: completion("This one was cut in the", "length"),
    lambda: completion("filtered", "content_filter"),
    lambda: completion(None, refusal="I won't."),
    lambda: web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html"),
    lambda: web.Response(text='{"choices": [{"mess', content_type="application/json"),
    lambda: web.json_response({"choices": []}),
    lambda: web.json_response({"error": {"message": "overloaded"}}),
    lambda: web.json_response([1, 2, 3]),
    lambda: completion("a\x00b\x1b[31mc"),
    lambda: web.Response(
        text='{"choices": [{"message": {"content": "half \\ud800 pair"}}]}', content_type="application/json"
    ),
    lambda: completion("long text " * 10_000),
    lambda: completion("<think>never mind</think>"),
    lambda: completion("<think>never finished"),
    lambda: web.json_response({"choices": [{"message": {"content": 5}}]}),
    lambda: web.json_response({"choices": [{"message": {"content": "ok"}}], "usage": {"prompt_tokens": "many"}}),
    lambda: web.json_response({"error": {"message": "too long", "code": "context_length_exceeded"}}, status=400),
    lambda: web.Response(status=500, text="oops"),
    lambda: web.Response(status=429, headers={"Retry-After": "0"}),
]


async def test_law_3_nothing_vanishes(write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        number = int(digest(body)[:8], 16)
        if number % 3 == 0:
            return RUBBISH[number // 3 % len(RUBBISH)]()
        if kind(body) == "evolve" and number % 3 == 1 and number % 4 == 0:
            return completion(question(body).upper())  # equal but for case
        return completion(sensible(body))

    teacher.reply = reply
    out = tmp_path / "out.jsonl"
    summary = await run(
        "evolve", seeds=write_seeds(300), out=out, model="m", base_url=teacher.url, rounds=3, attempts=2,
        backoff=Backoff(first=0.0),
    )  # fmt: skip
    accepted, rejected = rows(out), rows(tmp_path / "out.rejected.jsonl")
    assert f"{summary.unanswered} of {summary.candidates} candidates have no answer" in str(summary.stopped)
    assert summary.candidates == summary.accepted + summary.rejected == len(accepted) + len(rejected)
    assert (summary.accepted, summary.rejected) == (len(accepted), len(rejected))
    assert sum(summary.by_rule.values()) == sum(summary.by_stage.values()) == summary.rejected
    assert summary.surplus == 0
    assert all(row["output"] and row["instruction"] and "rejection" not in row for row in accepted)
    assert all(row["rejection"]["reason"] for row in rejected)
    ended = [row for row in rejected if row["rejection"]["stage"] == "backend"]
    assert {"http_500", "rate_limited", "malformed", "no_choices", "refusal", "content_filter"} <= {
        row["rejection"]["rule"] for row in ended
    }
    assert {"equal", "sorry", "stop_words", "prompt_leak", "cut", "empty", "unprintable", "empty_answer"} <= set(
        summary.by_rule
    )
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["candidates"] == manifest["accepted"] + manifest["rejected"] == summary.candidates


async def test_law_4_a_stalled_head_stops_nobody(
    write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher
) -> None:
    """The teacher answers the first seed only when all rounds of all other seeds are done."""
    count, rounds = 600, 2
    others = 3 * rounds * (count - 1)
    rest_done = asyncio.Event()
    answered = 0

    async def reply(body: Body) -> web.StreamResponse:
        nonlocal answered
        if question(body) == "Describe thing number 0.":
            await rest_done.wait()
            return completion(sensible(body))
        answered += 1
        if answered == others:
            rest_done.set()
        return completion(sensible(body))

    teacher.reply = reply
    out = tmp_path / "out.jsonl"
    summary = await run(
        "evolve", seeds=write_seeds(count), out=out, model="m", base_url=teacher.url, rounds=rounds, concurrency=16,
        operators="deepen",
    )  # fmt: skip
    assert summary.accepted == count * rounds
    assert rows(out)[0]["provenance"]["parents"] == rows(out)[0]["provenance"]["root"].split()


async def test_retry_after_is_honoured_by_the_request_that_got_it(
    write_seeds: Callable[[int], Path], tmp_path: Path, teacher: Teacher
) -> None:
    arrivals: dict[str, list[float]] = {}

    async def reply(body: Body) -> web.StreamResponse:
        times = arrivals.setdefault(digest(body), [])
        times.append(asyncio.get_running_loop().time())
        if kind(body) == "answer" and len(times) == 1 and int(digest(body)[:2], 16) < 128:
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"})
        return completion(sensible(body))

    teacher.reply = reply
    summary = await run(
        "evolve", seeds=write_seeds(12), out=tmp_path / "out.jsonl", model="m", base_url=teacher.url, rounds=1,
        backoff=Backoff(first=0.0),
    )  # fmt: skip
    asked_again = [times for times in arrivals.values() if len(times) > 1]
    assert summary.accepted == 12
    assert len(asked_again) == summary.failed_calls["rate_limited"] > 0
    assert all(times[1] - times[0] >= 1.0 for times in asked_again)
