"""--batch: the same rows at half the price, whatever happens to batches, connections and the program meanwhile."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.answers import Batch, Entry, Stored, output_digest
from evolgen.engine.run import Run
from evolgen.errors import StoreError
from evolgen.events import Event, Notice
from evolgen.pauses import Backoff
from evolgen.report.summary import Summary
from evolgen.store import Store
from tests import program
from tests.batches import BatchTeacher, Line, answered, expired, failed
from tests.conftest import rows
from tests.running import started
from tests.teacher import Teacher

SEEDS: Any = [{"instruction": f"Describe thing number {number}."} for number in range(30)]
QUICK = Backoff(first=0.01, most=0.1)


@pytest.fixture
def batching() -> Iterator[BatchTeacher]:
    with BatchTeacher() as teacher:
        yield teacher


def evolve(teacher: Teacher, **more: Any) -> tuple[Summary, list[str]]:
    """Evolve the seeds in batches; returns what it told, too."""
    told: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)

    settings: dict[str, Any] = {"seeds": SEEDS, "out": "out.jsonl", "model": "gpt-4o-mini", "base_url": teacher.url}
    settings |= {"rounds": 1, "batch": True}
    summary = started("evolve", observer=observe, backoff=QUICK, **(settings | more)).result()
    return summary, told


def stop_at_once(run: Run[Summary]) -> None:
    """As a second Ctrl-C does: much like a program that ends in the middle of things."""
    run.stop()
    run.stop()
    assert run.result().complete is False


def expected(teacher: Teacher) -> str:
    """The rows of the same run without batches, by a teacher that answers at once."""
    evolve(teacher, batch=False, out="plain.jsonl", store="plain.sqlite")
    return Path("plain.jsonl").read_text()


def test_batches_give_the_same_bytes_for_half_the_price(batching: BatchTeacher) -> None:
    summary, told = evolve(batching)
    assert summary.complete
    assert summary.requests == 90
    assert len(batching.calls) == 3, "the first question of each kind goes out directly"
    assert sum(batching.sizes) == 87
    assert len(batching.sizes) <= 5, "questions of all lineages go out together"
    assert f"batch batch_0: {batching.sizes[0]} questions sent" in told
    assert summary.cost_usd == pytest.approx(90 * (100 * 0.15 + 20 * 0.60) / 1e6 / 2)
    assert Path("out.jsonl").read_text() == expected(batching)
    assert Store(Path(".evolgen/store.sqlite")).batches() == []


def test_lines_that_failed_expired_or_vanished_are_asked_again(batching: BatchTeacher) -> None:
    plain = expected(batching)
    outcomes = [
        expired(),
        failed(500),
        failed(429),
        None,
        {"response": {"status_code": 200, "body": {}}, "error": None},
    ]

    def line(body: Line, times: int) -> Line | None:
        draw = random.Random(str(body) + str(times)).random()
        return answered(body) if draw > 0.5 else outcomes[int(draw * 10)]

    batching.line = line
    summary, _ = evolve(batching, attempts=30)
    assert summary.complete
    assert {"batch_expired", "batch_failed", "batch_lost", "no_choices"} <= summary.failed_calls.keys()
    assert Path("out.jsonl").read_text() == plain


def test_rubbish_about_batches_is_asked_about_again(batching: BatchTeacher) -> None:
    """An endpoint whose words on a batch make no sense at first, and whose files hold lines that nobody asked for."""
    plain = expected(batching)
    rubbish = [b"[]", b"{}", b'{"id": 5}', b"<html>", b'{"id": "batch_0", "status": "in_progress", "errors": [5]}', b""]
    batching.rubbish = rubbish * 3
    batching.extra = [b"garbage", b'{"custom_id": 5}', b'{"custom_id": "zz"}', b"[]", b"null", b'{"custom_id": "00"}']
    summary, _ = evolve(batching)
    assert summary.complete
    assert batching.rubbish == []
    assert Path("out.jsonl").read_text() == plain


def test_an_endpoint_with_words_and_shapes_of_its_own(batching: BatchTeacher) -> None:
    plain = expected(batching)
    batching.words = {"in_progress": "JOB_STATE_MUSING", "completed": "Succeeded"}

    def line(body: Line, times: int) -> Line | None:
        draw, fine = random.Random(str(body) + str(times)).random(), answered(body)
        if draw < 0.3:
            return {"response": None, "error": "overloaded"}
        if draw < 0.6:
            return {"response": fine["response"] | {"body": json.dumps(fine["response"]["body"])}, "error": {}}
        return {"response": json.dumps({"body": fine["response"]["body"]}), "error": []}

    batching.line = line
    summary, told = evolve(batching, attempts=30)
    assert summary.complete
    assert Path("out.jsonl").read_text() == plain
    (strange,) = (text for text in told if "MUSING" in text)
    assert strange.startswith("batch batch_0: evolgen doesn't know its status 'JOB_STATE_MUSING'"), "said once"
    assert any("Succeeded" in text for text in told), "people see the endpoint's own word"


def test_a_batch_of_an_unknown_word_is_over_once_its_counts_are_full(batching: BatchTeacher) -> None:
    batching.words = {"completed": "thawed"}
    summary, told = evolve(batching)
    assert summary.complete
    assert sum("evolgen doesn't know its status 'thawed'" in text for text in told) == 1
    assert Path("out.jsonl").read_text() == expected(batching)


@pytest.mark.parametrize("content", [[None, 5, [], "x"], [{"type": "text", "text": None}], {"a": 1}, 5])
def test_an_answer_that_cannot_be_read_blocks_no_rerun(batching: BatchTeacher, content: Any) -> None:
    def line(body: Line, times: int) -> Line | None:
        fine = answered(body)
        if "thing number 7." in str(body):
            fine["response"]["body"]["choices"][0]["message"]["content"] = content
        return fine

    batching.line = line
    evolve(batching, attempts=2)
    batching.line = lambda body, times: answered(body)
    evolve(batching)
    assert len(rows(Path("out.jsonl"))) >= 29


def test_a_damaged_answer_is_asked_anew_and_replaced(batching: BatchTeacher) -> None:
    evolve(batching)
    plain = Path("out.jsonl").read_text()
    asked = sum(batching.sizes) + len(batching.calls)
    with contextlib.closing(sqlite3.connect(".evolgen/store.sqlite")) as db, db:
        db.execute("UPDATE answers SET answer = '{' WHERE rowid % 9 = 5")
    assert evolve(batching)[0].complete
    assert Path("out.jsonl").read_text() == plain
    again = sum(batching.sizes) + len(batching.calls)
    assert again == asked + 10
    assert evolve(batching)[0].replayed == 90
    assert sum(batching.sizes) + len(batching.calls) == again


def test_each_answer_is_stored_once_with_what_was_paid(batching: BatchTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Entry] = []
    usual = Store.put

    def noting(store: Store, group: Sequence[Entry]) -> list[Stored]:
        stored.extend(group)
        return usual(store, group)

    monkeypatch.setattr(Store, "put", noting)
    summary, _ = evolve(batching)
    assert len({entry.key for entry in stored}) == len(stored) == 90
    digest = output_digest(Path("out.jsonl"))
    assert digest is not None
    tokens, usd = Store(Path(".evolgen/store.sqlite")).spent(digest)
    assert tokens == 90 * 120
    assert usd == pytest.approx(summary.cost_usd)


def test_a_batch_is_noted_until_its_answers_are_on_disk(
    batching: BatchTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = expected(batching)

    def failing(store: Store, group: Sequence[Entry]) -> list[Stored]:
        if batching.sizes:
            raise StoreError("the disk is full")
        return usual(store, group)

    usual = Store.put
    monkeypatch.setattr(Store, "put", failing)
    summary, told = evolve(batching)
    assert summary.stopped is not None
    assert "the disk is full" in summary.stopped
    assert any(f"1 batch with {batching.sizes[0]} questions still under way" in text for text in told)
    (batch,) = Store(Path(".evolgen/store.sqlite")).batches()
    assert len(batch.keys) == batching.sizes[0]
    monkeypatch.setattr(Store, "put", usual)
    assert evolve(batching)[0].complete
    assert set(batching.sent.values()) == {1}
    assert Path("out.jsonl").read_text() == plain


def test_a_file_that_is_gone_when_the_program_comes_back_is_asked_anew(batching: BatchTeacher) -> None:
    batching.delay = 0.3
    left = started(
        "evolve", seeds=SEEDS, out="out.jsonl", model="gpt-4o-mini", base_url=batching.url, rounds=1, batch=True,
        backoff=QUICK,
    )  # fmt: skip
    while not batching.sizes:
        time.sleep(0.05)
    stop_at_once(left)
    time.sleep(0.5)
    batching.trouble = lambda method, path, number: (
        404 if path.endswith(f"{batching.batches['batch_0'].get('output_file_id')}/content") else None
    )
    summary, told = evolve(batching)
    assert summary.complete
    assert any("is unknown to the endpoint: what it answered is asked anew" in text for text in told)
    assert set(batching.sent.values()) == {1, 2}


def test_a_refused_line_rejects_its_row(batching: BatchTeacher) -> None:
    def line(body: Line, times: int) -> Line | None:
        refused = "thing number 7." in str(body)
        return failed(400, "flagged by moderation", code="content_filter") if refused else answered(body)

    batching.line = line
    summary, _ = evolve(batching)
    assert summary.by_rule == {"content_filter": 1}
    assert summary.accepted == 29


def test_no_trouble_on_the_way_has_anything_sent_twice(batching: BatchTeacher) -> None:
    plain = expected(batching)
    dice = random.Random(5)
    kinds: list[str | int] = ["before", "after", 500, 503, 429]
    batching.trouble = lambda method, path, number: dice.choice(kinds) if dice.random() < 0.5 else None
    summary, _ = evolve(batching)
    assert summary.complete
    assert set(batching.sent.values()) == {1}
    assert len(batching.files) > 2 * len(batching.sizes), "some uploads were repeated"
    assert Path("out.jsonl").read_text() == plain


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_program_that_ends_finds_its_batches_again(batching: BatchTeacher, number: signal.Signals) -> None:
    Path("seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in SEEDS))
    plain = expected(batching)
    asked = len(batching.calls)
    batching.delay = 1.0
    command = [sys.executable, "-m", "evolgen", "evolve", "seeds.jsonl", "-o", "out.jsonl", "--rounds", "1", "--batch"]
    command += ["--model", "gpt-4o-mini", "--base-url", batching.url]
    codes = []
    for wait in (*[2.2, 3.4, 4.1], 60.0):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        told = process.communicate()[1]
        codes.append(process.returncode)
        if number == signal.SIGINT and batching.sizes and process.returncode == 3 and wait > 4:
            assert "questions still under way: the next run with --batch takes the answers" in told
    assert codes[0] == (3 if number == signal.SIGINT else -9)
    assert codes[-1] == 0, told
    assert set(batching.sent.values()) == {1}
    assert len(batching.calls) - asked <= 3 * len(codes), "what goes out directly is tried once a run"
    assert Path("out.jsonl").read_text() == plain


def test_an_endpoint_that_has_too_much_waiting_gets_less_at_once(batching: BatchTeacher) -> None:
    plain = expected(batching)
    problem = ("token_limit_exceeded", "Enqueued token limit reached")
    batching.refuse = lambda questions, open: problem if questions + open > 8 else None
    summary, told = evolve(batching)
    assert summary.complete
    assert max(batching.sizes) <= 8
    assert "batch batch_0: Enqueued token limit reached: sending less at once" in told
    assert Path("out.jsonl").read_text() == plain
    batching.refuse = lambda questions, open: problem
    summary, _ = evolve(batching, store="other.sqlite", give_up=0.5)
    assert summary.stopped is not None
    assert "the endpoint has taken no batch for 0.5 s (Enqueued token limit reached)" in summary.stopped


def test_a_batch_that_fails_stops_the_run_and_is_forgotten(batching: BatchTeacher) -> None:
    batching.refuse = lambda questions, open: ("model_not_found", "there is no such model")
    summary, _ = evolve(batching)
    assert summary.stopped is not None
    assert "batch batch_0 failed: there is no such model" in summary.stopped
    batching.refuse = lambda questions, open: None
    assert evolve(batching)[0].complete


def test_a_cancelled_batch_stops_the_run_and_its_answers_are_kept(batching: BatchTeacher) -> None:
    batching.delay = 0.6

    def cancel(method: str, path: str, number: int) -> None:
        if method == "GET" and path.endswith("batch_0") and batching.batches["batch_0"]["status"] == "in_progress":
            batching.batches["batch_0"]["status"] = "cancelling"

    batching.trouble = cancel
    summary, _ = evolve(batching)
    assert summary.stopped is not None
    assert "batch batch_0 was cancelled; run the same command again" in summary.stopped
    batching.delay = 0.05
    again, _ = evolve(batching)
    assert again.complete
    assert again.replayed >= 14, "what it had answered by then came with it"
    assert Path("out.jsonl").read_text() == expected(batching)


def test_what_a_budget_paid_for_is_waited_for(batching: BatchTeacher) -> None:
    summary, _ = evolve(batching, max_requests=40)
    assert summary.published
    assert summary.stopped is not None
    assert "--max-requests 40" in summary.stopped
    assert sum(batching.sizes) + len(batching.calls) == 40
    assert evolve(batching)[0].complete
    assert set(batching.sent.values()) == {1}


def test_a_batch_that_the_endpoint_forgot_is_sent_anew(batching: BatchTeacher) -> None:
    batching.delay = 0.5
    looks: list[str] = []

    def forget(method: str, path: str, number: int) -> None:
        if path.endswith("batch_0"):
            looks.append(path)
            if len(looks) == 1:
                batching.batches.clear()

    batching.trouble = forget
    summary, told = evolve(batching)
    assert summary.complete
    assert any("batch_0: gone, 0 of" in text for text in told)


def test_a_run_without_batches_says_that_some_are_under_way(batching: BatchTeacher) -> None:
    batching.delay = 60
    batching.trouble = lambda method, path, number: 401 if "batch_0" in path else None
    stopped, told = evolve(batching)
    assert not stopped.complete
    open = sum(batching.sizes)
    assert f"1 batch with {open} questions still under way" in " ".join(told)
    _, told = evolve(batching, batch=False)
    assert f"the store waits for {open} questions in batches, which --batch would take up" in told


def test_answers_wait_in_the_store_for_whoever_asks(batching: BatchTeacher) -> None:
    """The batch of a run that was killed is taken in although this run asks for something else."""
    batching.delay = 0.4
    prompts: Any = [{"instruction": seed["instruction"]} for seed in SEEDS]
    settings: dict[str, Any] = {"model": "m", "base_url": batching.url, "batch": True, "backoff": QUICK}

    left = started("respond", inputs=prompts, out="a.jsonl", **settings)
    time.sleep(0.3)
    assert batching.sizes
    stop_at_once(left)
    other: Any = [{"instruction": f"Name river {number}."} for number in range(20)]
    started("respond", inputs=other, out="b.jsonl", **settings).result()
    time.sleep(0.5)
    again = started("respond", inputs=prompts, out="a.jsonl", **settings).result()
    assert again.replayed + again.requests == 30
    assert len(rows(Path("a.jsonl"))) == 30
    assert set(batching.sent.values()) == {1}


@pytest.mark.parametrize("begun", [True, False])
def test_a_batch_whose_name_never_came_is_found_by_its_token(batching: BatchTeacher, begun: bool) -> None:
    """The program ended while it began a batch: it may be there, or not."""
    batching.delay = 0.3
    batching.trouble = lambda method, path, number: ("after" if begun else "before") if "batches" in path else None

    settings: Any = {"seeds": SEEDS, "out": "out.jsonl", "model": "m", "base_url": batching.url, "rounds": 1}
    left = started("evolve", batch=True, backoff=QUICK, **settings)
    time.sleep(0.5)
    stop_at_once(left)
    (batch,) = Store(Path(".evolgen/store.sqlite")).batches()
    assert batch.id is None
    assert bool(batching.batches) == begun
    batching.trouble = lambda method, path, number: None
    assert evolve(batching, model="m")[0].complete
    assert set(batching.sent.values()) == {1}


def test_a_batch_that_another_run_is_just_sending_is_left_to_it(batching: BatchTeacher) -> None:
    Path(".evolgen").mkdir()
    store = Store(Path(".evolgen/store.sqlite"))
    now = time.time()
    sending = Batch("abc", None, batching.url, "gpt-4o-mini", "{}", (b"k" * 32,), now, now + 600)
    store.begin_batch(sending)
    assert evolve(batching)[0].complete
    assert [batch.token for batch in store.batches()] == ["abc"]
    store.lease_batch("abc", now)  # whoever sent it has ended, whatever became of its process's number
    batching.delay = 0.5
    assert evolve(batching, out="b.jsonl", seeds=[{"instruction": "Name a river."}])[0].complete
    assert store.batches() == [], "it was never sent"


def test_a_lease_is_renewed_as_long_as_a_batch_is_being_sent(
    batching: BatchTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evolgen.backends.batches.RENEWED_EVERY", 0.02)
    leases: list[float] = []
    usual = Store.lease_batch

    def noting(store: Store, token: str, until: float) -> None:
        leases.append(until)
        usual(store, token, until)

    monkeypatch.setattr(Store, "lease_batch", noting)
    failures = iter(range(5))
    batching.trouble = lambda method, path, number: (
        503 if "files" in path and next(failures, None) is not None else None
    )
    assert evolve(batching)[0].complete
    first = leases.index(0.0)
    assert first >= 2
    assert leases[:first] == sorted(leases[:first]), "each goes further than the one before"
    assert leases[0] > time.time()


def test_batches_are_listed_and_cancelled(batching: BatchTeacher) -> None:
    batching.delay = 60
    batching.trouble = lambda method, path, number: 401 if path.endswith("batch_0") else None
    evolve(batching)
    (told,) = evolgen.list_batches()
    assert (told.id, told.model, told.questions) == ("batch_0", "gpt-4o-mini", batching.sizes[0])
    assert "HTTP 401" in told.status
    batching.trouble = lambda method, path, number: None
    done = program.evolgen("batches", "list")
    assert "batch_0" in done.stdout
    assert "in_progress" in done.stdout
    with pytest.raises(evolgen.EvolgenError, match=r"batch other: the store .* doesn't wait for it"):
        evolgen.cancel_batches(["other"])
    done = program.evolgen("batches", "cancel", "batch_0", "--json")
    assert json.loads(done.stdout)["status"] == "cancelling"
    batching.batches["batch_0"]["status"] = "cancelled"
    batching.delay = 0.05
    assert evolve(batching)[0].complete, "what was cancelled before is asked anew"
    assert evolgen.list_batches() == []
    with pytest.raises(evolgen.EvolgenError, match="there is no such store"):
        evolgen.list_batches(store="gone.sqlite")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "local:smollm2-135m", "base_url": ()}, "--batch: local:smollm2-135m takes no batches"),
        ({"base_url": ("http://a/v1", "http://b/v1")}, "batch: a batch is at one endpoint; give one --base-url"),
        ({"script": lambda request: "x"}, "takes no batches"),
    ],
)
def test_who_takes_no_batches_is_told_apart_at_once(teacher: Teacher, settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(evolgen.EvolgenError, match=problem):
        evolve(teacher, **settings)
    assert not teacher.calls


def test_an_endpoint_without_batches_is_a_clear_stop() -> None:
    class Without(BatchTeacher):
        def _troubled(self, handler: Any) -> Any:
            from aiohttp import web

            async def nothing(request: web.Request) -> web.Response:
                return web.json_response({"error": {"message": "Not Found"}}, status=404)

            return nothing

    with Without() as teacher:
        summary, _ = evolve(teacher)
        assert summary.stopped is not None
        assert "the endpoint takes no batches" in summary.stopped
        assert "run it without --batch" in summary.stopped
        assert evolve(teacher, batch=False)[0].complete
