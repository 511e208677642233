"""What an endpoint sends for an answer, whatever it is: pieces of text as they come, or what came instead.

A reply is a stream of events or, from an endpoint that can't stream, one JSON object. Any part of either may be
missing, null or of another kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from evolgen.errors import ModelError

FAILED = ("filter", "safety", "block", "prohibit", "error", "abort")
"""Parts of a finish_reason that tell of no proper end."""

NO_ANSWER = "the endpoint sent no answer (check --base-url)"

MOST_TOKENS = 10**9
"""No answer takes more; what claims to is not counted."""


class Event(NamedTuple):
    """One event of a stream; a reply that is no stream is one event, the `only` one."""

    data: str
    name: str = ""
    only: bool = False


class Piece(NamedTuple):
    """What an event says: text, how the answer ended, how many tokens it took, and what went wrong.

    `whole` tells that the text is a message and not an addition to one.
    """

    text: str = ""
    whole: bool = False
    end: str = ""
    tokens: int = 0
    problem: str = ""


def pieces(body: Iterable[bytes], hide: Callable[[str], str] = str) -> Iterator[Piece]:
    """What a reply says, event by event; raises ModelError for what went wrong, after the text that came with it.

    `hide` takes the secrets out of what an endpoint tells.
    """
    said, ended = "", False
    for event in _events(body):
        if event.data.startswith("[DONE]"):
            return
        piece = read(event, hide)
        if piece.whole and piece.text.startswith(said):  # some repeat what they sent before
            piece = piece._replace(text=piece.text[len(said) :])
        said += piece.text
        ended |= piece.whole or bool(piece.end)
        yield piece
        if piece.problem:
            raise ModelError(piece.problem)
    if not ended:
        raise ModelError("the stream ended without a word that the answer is whole")


def read(event: Event, hide: Callable[[str], str] = str) -> Piece:
    """What one event says, whatever it holds.

    >>> read(Event('{"choices": [{"delta": {"content": "Hi"}, "finish_reason": null}]}')).text
    'Hi'
    >>> read(Event('{"error": "overloaded"}')).problem, read(Event('{"choices": [], "usage": null}')).problem
    ('the endpoint failed: overloaded', '')
    """
    value: Any = None
    try:
        value = json.loads(event.data) if event.data.strip() or event.only else None
        fields = _fields(value)
        choices = fields.get("choices")
        choice = _fields(choices[0] if isinstance(choices, list) and choices else choices)
        delta, message = _fields(choice.get("delta")), _fields(choice.get("message"))
        said = delta or message or {"content": choice.get("text")}
        text = _text(said.get("content")) or _text(said.get("refusal"))
    except (ValueError, RecursionError):
        what = NO_ANSWER if event.only else "the endpoint sent what can't be read"
        return Piece(problem=_told(what, value, event.data, hide))
    error, end = fields.get("error") or choice.get("error"), choice.get("finish_reason")
    end = end if isinstance(end, str) else ""
    if error or event.name == "error" or fields.get("object") == "error":
        problem = _told("the endpoint failed", error or value, event.data, hide)
    elif event.only and not choice:
        problem = _told(NO_ANSWER, value, event.data, hide)
    elif any(word in end.lower() for word in FAILED):
        problem = f"the endpoint ended the answer: {_short(hide(end))}"
    else:
        problem = ""
    return Piece(text, bool(message and not delta) or event.only, end, _tokens(fields.get("usage")), problem)


def _events(body: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream; the last one needs no end."""
    streamed, name = False, ""
    data: list[str] = []
    rest: list[str] = []
    for line in _lines(body):
        field, _, value = line.partition(":")
        if field == "data":
            streamed = True
            data.append(value.removeprefix(" "))
        elif field == "event":
            name = value.strip()
        if not line:
            if data:
                yield Event("\n".join(data), name)
            data, name = [], ""
        elif not streamed and field:  # a line that begins with a colon keeps the connection awake
            rest.append(line)
    if data:
        yield Event("\n".join(data), name)
    elif not streamed:
        yield Event("\n".join(rest), only=True)


def _lines(body: Iterable[bytes]) -> Iterator[str]:
    begun = b""
    for chunk in body:
        *lines, begun = (begun + chunk).split(b"\n")
        yield from map(_line, lines)
    yield _line(begun)


def _line(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace").removeprefix("\ufeff")


def _fields(value: Any) -> dict[str, Any]:
    """An object, of which what is empty in any way has no fields; raises ValueError for anything else."""
    if not value:
        return {}
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _text(content: Any) -> str:
    r"""The text of a message's content: words, a number, or parts, whose thinking is left out. Raises ValueError.

    >>> _text([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Pa"}, "ris"]), _text(42), _text(None)
    ('Paris', '42', '')
    """
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content)
    parts = content if isinstance(content, list) else [content or ""]
    text = "".join(_part(part) for part in parts)
    return text.encode("utf-8", "backslashreplace").decode()  # half a character, which can't be sent back


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = _fields(part).get("text") if _fields(part).get("type") in (None, "text", "output_text") else None
    return text if isinstance(text, str) else ""


def _tokens(usage: Any) -> int:
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) and 0 < count <= MOST_TOKENS else 0


def _told(what: str, told: Any, data: str, hide: Callable[[str], str]) -> str:
    """What happened, with the endpoint's own words in what it told, or else the data that it sent, short.

    >>> _told("it failed", [{"error": {"message": "no such model"}}], "", str)
    'it failed: no such model'
    >>> _told("it failed", {"code": 7}, '{"code": 7}', str), _told("it failed", None, "", str)
    ('it failed: {"code": 7}', 'it failed')
    """
    for _ in range(4):
        if isinstance(told, list) and told:
            told = told[0]
        elif isinstance(told, dict):
            told = next((told[name] for name in ("error", "message", "detail", "msg") if told.get(name)), None)
    words = _short(hide(told if isinstance(told, str) else data))
    return f"{what}: {words}" if words else what


def _short(text: str) -> str:
    """A text on one line, its first 200 characters."""
    return " ".join(text.split())[:200]
