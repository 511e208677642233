"""The lines of a batch's files: questions as they go out, and what came of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from evolgen.answers import KEY
from evolgen.asking import Answer
from evolgen.backends import Response
from evolgen.backends.batch_state import table
from evolgen.backends.failures import status_error
from evolgen.backends.openai_http import checked
from evolgen.backends.words import words_of
from evolgen.errors import Denied, TeacherError, Unanswered

LONGEST = 32_000_000
"""Bytes of a line at the most."""

UNANSWERED = ("expired", "cancelled")
"""Why a batch leaves a question unanswered, in the words of a rule; all else is `failed`."""


def question_line(key: bytes, path: str, body: Mapping[str, Any]) -> bytes:
    """One question of a batch; its key is its name there."""
    line = {"custom_id": key.hex(), "method": "POST", "url": f"/v1{path}", "body": body}
    return json.dumps(line).encode() + b"\n"


def read_lines(file: IO[bytes], form: dict[str, Any]) -> Iterator[tuple[bytes, Response | TeacherError]]:
    """The outcomes in a batch's output or error file: key and answer, or the error that the line stands for.

    `form` is added to each answer. Lines that are not ours, not whole, too long or too deep are passed over: their
    questions will be missing.
    """
    for text in _lines(file):
        try:
            line = json.loads(text)
            key = bytes.fromhex(line["custom_id"])
            outcome = _outcome(key, line, form)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if len(key) == KEY:
            yield key, outcome


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; one that is too long is never held whole."""
    while text := file.readline(LONGEST):
        if text.endswith(b"\n") or len(text) < LONGEST:
            yield text
        while text and not text.endswith(b"\n"):
            text = file.readline(LONGEST)


def _outcome(key: bytes, line: Mapping[str, Any], form: dict[str, Any]) -> Response | TeacherError:
    """What became of a question, judged by its answer where the line gives no status."""
    response, error = table(_unpacked(line.get("response"))), line.get("error")
    body = _unpacked(response.get("body", response))
    status = _status(response.get("status_code")) or _status(table(error).get("code"))
    said = words_of(error)
    if status is not None and status >= 400:
        return _line_error(status, body or error)
    if (body or status is not None) and not said and (status or 200) < 300:
        try:
            answer = checked(body) | form
            Answer.read(key, "", answer)
        except TeacherError as failure:
            return failure
        except ValueError as failure:
            return Unanswered("malformed", f"the answer can't be read: {failure}")
        return answer
    code = words_of(table(error).get("code")).removeprefix("batch_")
    rule = f"batch_{code if code in UNANSWERED else 'failed'}"
    return Unanswered(rule, f"its batch left it unanswered: {said or code or 'no reason given'}")


def _unpacked(value: object) -> object:
    """What a text of JSON holds, and anything else as it is."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _status(value: object) -> int | None:
    """An HTTP status, also as a text."""
    text = str(value)[:4] if isinstance(value, int | str) else ""
    return int(text) if len(text) == 3 and text.isdecimal() else None


def _line_error(status: int, body: object) -> TeacherError:
    """What the same status would have meant for a question that was asked directly."""
    import httpx2
    import openai

    told = table(body).get("error", body)
    response = httpx2.Response(status, request=httpx2.Request("POST", "https://batch"))
    error = status_error(openai.APIStatusError(words_of(told), response=response, body=told))
    if isinstance(error, Unanswered) or (isinstance(error, Denied) and error.rule != "quota"):
        # a limit that a batch met is none of the direct calls', and a key that serves the other lines is no wrong one
        return Unanswered("batch_failed", f"its batch left it unanswered: {error}")
    return error
