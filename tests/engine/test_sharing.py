"""Two runs on one store pay nothing twice, in one process or in two, and a dead one holds nobody up."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import evolgen
from evolgen.config.dedupe import DedupeConfig
from evolgen.config.respond import RespondConfig
from evolgen.engine import sharing
from evolgen.engine.sharing import Sharing
from tests.conftest import rows
from tests.teacher import Body, Teacher, completion, digest, embeddings, sensible

PROMPTS: Any = [{"instruction": f"Name thing number {number}."} for number in range(60)]


async def slowly(body: Body) -> web.StreamResponse:
    await asyncio.sleep(0.4)
    return completion(sensible(body))


def config(teacher: Teacher, out: str, **more: Any) -> RespondConfig:
    return RespondConfig(
        inputs=PROMPTS, out=Path(out), model="m", base_url=(teacher.address,), concurrency=8, **more
    )  # fmt: skip


def nothing() -> str | None:
    return None


async def never(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_two_runs_in_one_process_pay_nothing_twice(teacher: Teacher) -> None:
    teacher.reply = slowly
    first = evolgen.start(config(teacher, "one.jsonl"))
    while len(teacher.calls) < 10:
        time.sleep(0.01)
    second = evolgen.start(config(teacher, "two.jsonl"))
    assert (first.result().accepted, second.result().accepted) == (60, 60)
    assert set(Counter(teacher.asked).values()) == {1}
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
    assert not Path(".evolgen/store.sqlite-live").exists(), "the last one takes it away"


@pytest.mark.slow
def test_two_processes_pay_nothing_twice(teacher: Teacher) -> None:
    teacher.reply = slowly
    Path("prompts.txt").write_text("".join(f"{prompt['instruction']}\n" for prompt in PROMPTS))
    command = [sys.executable, "-m", "evolgen", "respond", "prompts.txt", "--model", "m", "--base-url", teacher.url]
    command += ["--concurrency", "8", "-o"]
    processes = [subprocess.Popen([*command, f"{name}.jsonl"], stdout=subprocess.DEVNULL) for name in ("one", "two")]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert set(Counter(teacher.asked).values()) == {1}
    assert len(rows(Path("one.jsonl"))) == len(rows(Path("two.jsonl"))) == 60


def test_who_died_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "BEAT", 0.05)
    monkeypatch.setattr(sharing, "VOID", 1.0)
    monkeypatch.setattr(sharing, "LOOK", 0.02)
    key = b"k" * 32

    async def play() -> None:
        dead, alive = Sharing(Path("s")), Sharing(Path("s"))
        assert await dead.turn(key, nothing, never, 60) is None
        asked = asyncio.ensure_future(alive.turn(key, nothing, never, 60))
        await asyncio.sleep(0.5)
        assert not asked.done(), "it is being asked"
        assert dead._beating is not None
        dead._beating.cancel()
        began = time.monotonic()
        assert await asyncio.wait_for(asked, 30) is None
        assert time.monotonic() - began < 10
        alive.close()

    asyncio.run(play())


def test_a_waiter_gets_the_answer_or_asks_itself_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "BEAT", 0.05)
    monkeypatch.setattr(sharing, "LOOK", 0.02)
    store: dict[bytes, str] = {}

    async def play() -> None:
        one, two = Sharing(Path("s")), Sharing(Path("s"))
        for key in (b"a" * 32, b"b" * 32, b"c" * 32):
            await one.turn(key, nothing, never, 60)
        waiting = asyncio.ensure_future(two.turn(b"a" * 32, lambda: store.get(b"a" * 32), never, 60))
        impatient = asyncio.ensure_future(two.turn(b"b" * 32, nothing, never, 0.4))
        failing = asyncio.ensure_future(two.turn(b"c" * 32, nothing, never, 60))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert not failing.done()
        store[b"a" * 32] = "answered"
        one.done(b"a" * 32)
        one.done(b"c" * 32)
        assert [await asyncio.wait_for(each, 30) for each in (waiting, impatient, failing)] == ["answered", None, None]
        two.close()
        one.close()

    asyncio.run(play())
    assert not Path("s-live").exists()


@pytest.mark.parametrize("trouble", ["folder", "rubbish"])
def test_without_a_file_to_share_everybody_asks_alone(trouble: str) -> None:
    if trouble == "folder":
        Path("s-live").mkdir()
    else:
        Path("s-live").write_bytes(b"no database at all " * 100)

    async def play() -> None:
        alone = Sharing(Path("s"))
        assert await asyncio.wait_for(alone.turn(b"k" * 32, nothing, never, 60), 30) is None
        alone.done(b"k" * 32)
        alone.close()

    asyncio.run(play())


def test_a_run_alone_writes_nothing_but_its_signs_of_life() -> None:
    async def play() -> None:
        alone = Sharing(Path("s"))
        for number in range(100):
            await alone.turn(bytes([number]) * 32, nothing, never, 60)
        with sqlite3.connect("s-live") as db:
            assert db.execute("SELECT count(*) FROM asking").fetchone() == (0,)
            assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        db.close()
        alone.close()

    asyncio.run(play())


def test_embeddings_are_paid_once_as_well(teacher: Teacher) -> None:
    async def slow_vectors(body: Body) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return embeddings(body)

    teacher.reply = slow_vectors
    texts: Any = [{"instruction": f"{number} {'word ' * 100}"} for number in range(1200)]
    settings: Any = {"method": ("semantic",), "model": "m", "base_url": (teacher.address,), "concurrency": 2}
    first = evolgen.start(DedupeConfig(inputs=texts, out=Path("one.jsonl"), **settings))
    while not teacher.calls:
        time.sleep(0.01)
    second = evolgen.start(DedupeConfig(inputs=texts[::-1], out=Path("two.jsonl"), **settings))
    assert first.result().complete
    assert second.result().complete
    assert set(Counter(text for body in teacher.calls for text in body["input"]).values()) == {1}


def test_a_thread_that_stops_one_leaves_the_other(teacher: Teacher) -> None:
    teacher.reply = slowly
    first, second = evolgen.start(config(teacher, "one.jsonl")), evolgen.start(config(teacher, "two.jsonl"))
    while len(teacher.calls) < 8:
        time.sleep(0.01)
    threading.Thread(target=first.stop).start()
    assert second.result().accepted == 60
    assert first.result().stopped is not None
    assert set(Counter(map(digest, teacher.calls)).values()) == {1}
