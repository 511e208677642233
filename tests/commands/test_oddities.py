"""Each oddity of an endpoint x each command that asks: the right outcome, in the right words, and nothing lost."""

from __future__ import annotations

import functools
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import evolgen
from evolgen.pauses import Backoff
from evolgen.report.summary import Summary
from tests.batches import BatchTeacher, answered
from tests.conftest import rows
from tests.faults import FAULTS, ODD_ANSWERS, Fault, answering
from tests.running import started
from tests.teacher import Body, Teacher, behave, digest, embeddings, kind, refusal

QUICK = Backoff(first=0.001, most=0.05)
SEEDS: Any = [{"instruction": f"Describe thing number {number}.", "output": "So."} for number in range(12)]

COMMANDS: dict[str, dict[str, Any]] = {
    "evolve": {"seeds": SEEDS, "rounds": 1},
    "respond": {"inputs": SEEDS},
    "self-instruct": {"seeds": SEEDS, "n": 6},
    "dedupe": {"inputs": [{"instruction": seed["instruction"]} for seed in SEEDS], "method": "semantic"},
}


def bomb(body: Body) -> web.Response:
    """20 MB that are 20 kB on the way."""
    packed = gzip.compress(b'{"choices": [{"message": {"content": "' + b"a" * 20_000_000 + b'"}}]}')
    return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


def go(command: str, teacher: Teacher, out: str, **more: Any) -> Summary:
    settings = {"model": "m", "base_url": teacher.url, "store": f"{out}.sqlite", "attempts": 3, "timeout": 2.0}
    run = started(command, backoff=QUICK, out=f"{out}.jsonl", **(settings | COMMANDS[command] | more))
    return run.result()


def files(out: str) -> list[bytes]:
    return [Path(f"{out}{kind}.jsonl").read_bytes() for kind in ("", ".rejected")]


@functools.cache
def plain(command: str) -> tuple[int, list[bytes]]:
    """What a command makes of answers without any oddity: how many rows, and its files."""
    with Teacher() as teacher:
        return go(command, teacher, "plain").accepted, files("plain")


class First:
    """Plays an oddity to each question when it is put for the first time."""

    def __init__(self, fault: Fault) -> None:
        self.met: Counter[str] = Counter()
        self._fault = fault

    async def __call__(self, body: Body) -> web.StreamResponse:
        self.met[digest(body)] += 1
        return await (self._fault if self.met[digest(body)] == 1 else behave)(body)


@pytest.mark.parametrize("command", ["evolve", "respond", "self-instruct"])
@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_an_odd_answer_is_an_answer(teacher: Teacher, name: str, command: str) -> None:
    accepted, expected = plain(command)
    teacher.reply = ODD_ANSWERS[name]
    assert go(command, teacher, "odd").accepted == accepted
    assert files("odd") == expected
    assert len(set(teacher.asked)) == len(teacher.calls), "nothing is asked twice"
    again = go(command, teacher, "odd")
    assert (again.requests, files("odd")) == (0, expected)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in {*ODD_ANSWERS, "half-open"}])
def test_what_goes_wrong_for_now_is_asked_again(teacher: Teacher, name: str, command: str) -> None:
    accepted, expected = plain(command)
    teacher.reply = first = First(FAULTS[name])
    summary = go(command, teacher, "odd")
    assert (summary.accepted, summary.stopped) == (accepted, None)
    assert files("odd") == expected
    assert set(first.met.values()) == {2}


REJECTED = {
    "content_filter": ("SAFETY", "sensitive", "guardrail_intervened", "PROHIBITED_CONTENT", "content_filter"),
    "cut": ("length", "MAX_TOKENS", "max_tokens", "model_length"),
    "finish_reason": ("tired", "7"),
}
WORDS = [(rule, word) for rule, words in REJECTED.items() for word in words]


@pytest.mark.parametrize(("rule", "word"), WORDS)
def test_half_an_answer_is_no_row(teacher: Teacher, rule: str, word: str) -> None:
    half = answering(lambda response, choice, text: choice.update(finish_reason=word))

    async def reply(body: Body) -> web.StreamResponse:
        return await (half if "thing number 7" in str(body) else behave)(body)

    teacher.reply = reply
    summary = go("respond", teacher, "odd")
    assert summary.by_rule == {rule: 1}
    assert (summary.accepted, summary.stopped) == (11, None)
    (row,) = rows(Path("odd.rejected.jsonl"))
    assert rule != "finish_reason" or row["rejection"]["reason"].endswith(word)
    assert go("respond", teacher, "odd").requests == 0, "the answer is stored"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bomb_costs_its_own_row(teacher: Teacher, command: str) -> None:
    async def reply(body: Body) -> web.StreamResponse:
        big = kind(body) == "answer" and int(digest(body), 16) % 8 == 0
        return bomb(body) if big or (body.get("input") or [""])[0].endswith("number 7.") else await behave(body)

    teacher.reply = reply
    summary = go(command, teacher, "odd")
    assert summary.accepted > 0
    assert summary.by_rule.keys() <= {"too_large", "semantic"}
    assert summary.stopped is None, "it would come again"


STOPS: dict[str, tuple[web.Response, str]] = {
    "302": (web.HTTPFound("http://127.0.0.1:9/elsewhere"), "HTTP 302, to http://127.0.0.1:9/elsewhere"),
    "307": (web.HTTPTemporaryRedirect("http://127.0.0.1:9/v1"), "give the right address as --base-url"),
    "401 list": (web.json_response([{"error": {"message": "who are you"}}], status=401), "who are you"),
    "403 text": (web.json_response("not you", status=403), "not you"),
    "404 detail": (web.json_response({"detail": "no such thing"}, status=404), "no such thing"),
    "404 page": (web.Response(text="<html><title>Not Here</title></html>", status=404, content_type="text/html"),
                 "Not Here"),
    "400 model": (web.json_response({"error": "unknown model 'm'"}, status=400), "unknown model 'm'"),
    "422 mute": (web.json_response({"detail": [{"loc": ["body"], "msg": "no way"}]}, status=422), "body: no way"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", STOPS)
def test_where_nothing_will_be_answered_its_own_words_reach_the_person(
    teacher: Teacher, name: str, command: str
) -> None:
    response, words = STOPS[name]

    async def reply(body: Body) -> web.StreamResponse:
        headers = {key: value for key, value in response.headers.items() if key != "Content-Length"}
        return web.Response(body=response.body, status=response.status, headers=headers)

    go(command, teacher, "odd")
    before = files("odd")
    teacher.reply = reply
    Path("odd.sqlite").unlink()
    with pytest.raises(evolgen.EvolgenError) as caught:
        go(command, teacher, "odd")
    assert words in str(caught.value)
    assert files("odd") == before, "every file as it was"


def test_nothing_but_refusals_ends_early_and_one_answer_lets_it_go_on(teacher: Teacher) -> None:
    many: Any = [{"instruction": f"Describe thing number {number}."} for number in range(300)]

    async def no(body: Body) -> web.StreamResponse:
        return refusal(400, f"bad thing {digest(body)[:8]}")

    teacher.reply = no
    with pytest.raises(evolgen.EvolgenError, match=r"nothing but refusals: .*bad thing"):
        go("respond", teacher, "odd", inputs=many, concurrency=4)
    searches = 7 * 3
    assert len(teacher.calls) <= 20 + 4 + searches
    some = iter(range(10**6))

    async def once(body: Body) -> web.StreamResponse:
        return await (behave if next(some) == 12 else no)(body)

    teacher.reply = once
    summary = go("respond", teacher, "odd", inputs=many, concurrency=4)
    assert (summary.accepted, summary.rejected) == (1, 299)
    assert "299 of 300 candidates have no answer (bad_request 299)" in str(summary.stopped)


@pytest.mark.parametrize("name", [name for name in ODD_ANSWERS if name != "slow"])
def test_batches_take_odd_answers_as_well(name: str) -> None:
    with BatchTeacher() as teacher:
        accepted, expected = plain("respond")
        teacher.reply = ODD_ANSWERS[name]

        def line(body: Body, times: int) -> Any:
            outcome = answered(body)
            changed = outcome["response"]["body"]
            message = changed["choices"][0]["message"]
            match name:
                case "parts":
                    message["content"] = [{"text": message["content"]}, None, 7, [], {"text": None}]
                case "wrong usage":
                    changed["usage"] = {"prompt_tokens": -5, "completion_tokens": "many"}
                case "thinking":
                    message["content"] = f"<think>hm</think>{message['content']}"
            return outcome

        teacher.line = line
        assert go("respond", teacher, "odd", batch=True).accepted == accepted
        assert files("odd") == expected


def test_a_key_that_is_told_back_stands_in_no_row_and_not_in_the_store(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    teacher.reply = answering(
        lambda response, choice, text: choice["message"].update(content=f"{text} Your key is sk-0123456789abcdef.")
    )
    assert go("respond", teacher, "odd").accepted == 12
    assert all(row["output"].endswith("Your key is ***.") for row in rows(Path("odd.jsonl")))
    assert b"sk-0123456789abcdef" not in Path("odd.sqlite").read_bytes()


def test_what_was_dropped_is_in_the_manifest_also_offline(teacher: Teacher) -> None:
    async def picky(body: Body) -> web.StreamResponse:
        return refusal(400, "top_p is not for this model") if "top_p" in body else await behave(body)

    teacher.reply = picky
    assert go("respond", teacher, "odd", top_p=0.9).accepted == 12
    for _ in range(2):
        assert json.loads(Path("odd.manifest.json").read_text())["dropped"] == {"m": ["top_p"]}
        assert go("respond", teacher, "odd", top_p=0.9, offline=True).requests == 0


def test_embeddings_of_a_body_like_any_other(teacher: Teacher) -> None:
    async def called_text(body: Body) -> web.StreamResponse:
        return web.Response(body=embeddings(body).body, content_type="text/html")

    teacher.reply = called_text
    assert (go("dedupe", teacher, "odd").accepted, files("odd")) == plain("dedupe")
