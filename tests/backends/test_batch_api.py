"""What endpoints say of batches, in whatever words and shapes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolgen.asking import Answer
from evolgen.backends import batch_lines
from evolgen.backends.batch_api import BatchApi
from evolgen.backends.batch_lines import read_lines
from evolgen.backends.batch_state import read_state
from evolgen.backends.connection import Connection
from evolgen.errors import Denied, Refused, TeacherError, Unanswered
from tests.batches import BatchTeacher

KEYS = [bytes([number]) * 32 for number in range(5)]
BODY = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
FORM = {"form": {"path": "/chat/completions", "without": []}}
DEEP = f'{{"custom_id": "{KEYS[0].hex()}", "response": {{"status_code": 200, "body": {"[" * 50_000}{"]" * 50_000}}}}}'

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
words = st.sampled_from(["id", "status", "completed", "code", "message", "error", "data", "choices", "text", "content"])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=3), inner, max_size=4)
)


def state(**more: Any) -> dict[str, Any]:
    return {"id": "batch_0", "status": "in_progress"} | more


def outcome(**line: Any) -> object:
    """What a line is read as."""
    ((key, outcome),) = read(json.dumps({"custom_id": KEYS[0].hex()} | line).encode())
    assert key == KEYS[0]
    return outcome


def read(*lines: bytes) -> list[tuple[bytes, dict[str, Any] | TeacherError]]:
    return list(read_lines(io.BytesIO(b"\n".join(lines)), FORM))


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (
            "over",
            "completed Complete SUCCESS JOB_STATE_SUCCEEDED BATCH_STATE_EXPIRED done ended Finished timeout_exceeded",
        ),
        ("over", "expired timed-out TIMED_OUT"),
        ("failed", "failed FAILURE error Errored JOB_STATE_FAILED"),
        ("cancelled", "cancelled canceled Cancelled"),
        ("under way", "validating QUEUED pending running in_progress InProgress in-progress processing finalizing"),
        ("under way", "cancelling canceling CANCELLATION_REQUESTED musing '' 完成"),
    ],
)
def test_a_word_is_known_by_what_it_means(standing: str, words: str) -> None:
    for word in words.split():
        assert read_state(state(status=word)).standing == standing, word
        assert read_state(state(status=word)).status == word, "people see the endpoint's own"


@pytest.mark.parametrize(
    ("counts", "over"),
    [
        ({"completed": 2, "failed": 1, "total": 3}, True),
        ({"completed": "3", "failed": None, "total": "3"}, True),
        ({"completed": 2, "failed": 0, "total": 3}, False),
        ({"completed": 0, "failed": 0, "total": 0}, False),
        (None, False),
        ([3, 3], False),
    ],
)
def test_a_batch_of_an_unknown_word_is_over_once_all_is_done(counts: object, over: bool) -> None:
    told = state(status="musing", request_counts=counts)
    assert read_state(told | {"output_file_id": "file"}).over == over
    assert not read_state(told | {"output_file_id": ""}).over
    assert not read_state(told | {"output_file_id": "file", "status": "running"}).over


@pytest.mark.parametrize(
    ("errors", "code", "problem"),
    [
        ({"data": [{"code": "x", "message": "no"}, {"code": "y"}]}, "x", "no"),
        ({"data": {"code": 7, "message": "no"}}, "7", "no"),
        ([{"code": "x", "message": ["no"]}], "x", "no"),
        ({"code": "x", "message": "no"}, "x", "no"),
        ("no", "", "no"),
        ({"data": [None]}, "", ""),
        ([], "", ""),
        (None, "", ""),
    ],
)
def test_why_a_batch_failed_is_read_from_any_shape(errors: object, code: str, problem: str) -> None:
    read = read_state(state(errors=errors))
    assert (read.code, read.problem) == (code, problem)


@given(values, st.dictionaries(st.sampled_from(["status", "request_counts", "errors", "output_file_id"]), values))
def test_whatever_is_said_of_a_batch_is_a_state_or_a_failed_call(told: Any, more: dict[str, Any]) -> None:
    for each in (told, state(**more), state(status="musing", request_counts=told, errors=told, error_file_id=told)):
        try:
            read = read_state(each)
        except TeacherError:
            continue
        assert read.standing in ("under way", "over", "failed", "cancelled")


@pytest.mark.parametrize(
    "line",
    [
        {"response": {"status_code": 200, "body": BODY}, "error": None},
        {"response": {"status_code": "200", "body": BODY}, "error": ""},
        {"response": {"status_code": None, "body": BODY}, "error": {}},
        {"response": {"body": BODY}, "error": []},
        {"response": {"body": json.dumps(BODY)}, "error": {"code": None, "message": None}},
        {"response": json.dumps({"status_code": 200, "body": json.dumps(BODY)})},
        {"response": BODY},
    ],
)
def test_an_answer_is_found_in_any_shape(line: dict[str, Any]) -> None:
    assert outcome(**line) == BODY | FORM


@pytest.mark.parametrize(
    ("line", "kind", "rule", "said"),
    [
        (
            {"response": None, "error": {"code": "batch_expired", "message": "late"}},
            Unanswered,
            "batch_expired",
            "late",
        ),
        ({"response": None, "error": {"code": "odd_one"}}, Unanswered, "batch_failed", "odd_one"),
        ({"response": None, "error": "went wrong"}, Unanswered, "batch_failed", "went wrong"),
        ({"response": None, "error": ["went wrong"]}, Unanswered, "batch_failed", "went wrong"),
        ({"response": None, "error": None}, Unanswered, "batch_failed", "no reason given"),
        ({"response": "went wrong"}, Unanswered, "batch_failed", "no reason given"),
        ({}, Unanswered, "batch_failed", "no reason given"),
        ({"response": {"status_code": 200, "body": {}}}, Unanswered, "no_choices", "no choices"),
        ({"response": {"status_code": 200, "body": None}}, Unanswered, "malformed", ""),
        ({"response": {"status_code": 200, "body": "<html>"}}, Unanswered, "malformed", "not JSON"),
        ({"response": {"body": {"error": "overloaded"}}}, Unanswered, "error", "overloaded"),
        ({"response": {"status_code": "429", "body": "slow down"}}, Unanswered, "batch_failed", "slow down"),
        ({"response": {"status_code": 500, "body": None}, "error": "bang"}, Unanswered, "batch_failed", "bang"),
        ({"response": {"status_code": 401, "body": {"error": "key"}}}, Unanswered, "batch_failed", "key"),
        (
            {"response": {"status_code": "400", "body": {"error": {"message": "flagged"}}}},
            Refused,
            "content_filter",
            "",
        ),
        ({"response": None, "error": {"code": 400, "message": "too odd"}}, Refused, "bad_request", "too odd"),
        ({"response": {"status_code": 402, "body": [{"error": "pay"}]}}, Denied, "quota", "pay"),
        ({"response": {"status_code": 200, "body": {"choices": [{"text": "x", "message": [1]}]}}}, Unanswered, "", ""),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_right_kind(
    line: dict[str, Any], kind: type[TeacherError], rule: str, said: str
) -> None:
    error = outcome(**line)
    assert isinstance(error, kind)
    assert not rule or error.rule == rule
    assert said in str(error)


@given(
    values, values, st.binary(max_size=50), st.sampled_from(["response", "body", "status_code", "choices", "content"])
)
def test_no_line_costs_another(value: Any, error: Any, noise: bytes, place: str) -> None:
    response: dict[str, Any] = {
        "response": value,
        "body": {"status_code": 200, "body": value},
        "status_code": {"status_code": value, "body": BODY},
        "choices": {"status_code": 200, "body": {"choices": [value]}},
        "content": {"status_code": 200, "body": {"choices": [{"message": {"content": [value]}}]}},
    }
    odd = {"custom_id": KEYS[0].hex(), "response": response.get(place), "error": error}
    fine = [
        json.dumps({"custom_id": key.hex(), "response": {"status_code": 200, "body": BODY}}).encode()
        for key in KEYS[1:]
    ]
    lines = [
        fine[0],
        noise.replace(b"\n", b""),
        json.dumps(odd).encode(),
        fine[1],
        json.dumps(value).encode(),
        *fine[2:],
    ]
    found = dict(read(*lines))
    assert all(found[key] == BODY | FORM for key in KEYS[1:])
    assert found.keys() == set(KEYS)
    if not isinstance(answer := found[KEYS[0]], TeacherError):
        assert Answer.read(KEYS[0], "m", json.loads(json.dumps(answer)))


def test_lines_that_are_too_long_or_too_deep_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = json.dumps({"custom_id": KEYS[1].hex(), "response": {"status_code": 200, "body": BODY}}).encode()
    assert [key for key, _ in read(DEEP.encode(), fine)] == [KEYS[1]]
    monkeypatch.setattr(batch_lines, "LONGEST", len(fine) + 1)
    sizes: list[int] = []

    class File(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            sizes.append(len(line))
            return line

    for more in (0, 1, 2, len(fine), 10 * len(fine)):
        long = fine + b" " * more
        found = [key for key, _ in read_lines(File(b"\n".join([fine, long, fine])), FORM)]
        assert found == [KEYS[1]] * (2 if more else 3)
    assert max(sizes) <= len(fine) + 1


@pytest.fixture
def batching() -> Iterator[BatchTeacher]:
    with BatchTeacher() as teacher:
        yield teacher


def found(batching: BatchTeacher, token: str) -> object:
    """What a batch that our token went along with is found as."""

    async def find() -> object:
        connection = Connection(batching.address, lambda: None, timeout=5, connections=1)
        try:
            return await BatchApi(connection).find(None, token)
        finally:
            await connection.close()

    return asyncio.run(find())


@pytest.mark.parametrize("page", [b"[]", b"{}", b"null", b'{"data": null}', b'{"data": {"a": 1}}', b"<html>", b"["])
def test_a_list_of_batches_that_is_none_is_not_taken_for_an_empty_one(batching: BatchTeacher, page: bytes) -> None:
    batching.trouble = lambda method, path, number: page
    with pytest.raises(Unanswered):
        found(batching, "token")


@pytest.mark.parametrize("last", ['{"id": "b"}', "null", "5", '{"id": 5}'])
def test_a_list_of_batches_that_never_ends_is_read_once(batching: BatchTeacher, last: str) -> None:
    odd = '5, [], {"id": "a", "metadata": [1]}, {"id": "c", "status": "done", "metadata": {"evolgen": "known"}}'
    page = f'{{"data": [{odd}, {last}], "has_more": true}}'.encode()
    batching.trouble = lambda method, path, number: page
    assert found(batching, "token") is None
    assert found(batching, "known") == read_state({"id": "c", "status": "done"})
