"""Any OpenAI-compatible endpoint.

Calls go out with `cast_to=object`: building the client's response models costs more than evolgen's own work on an
answer. Here every failure becomes one TeacherError.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from typing import Any

from evolgen.asking import Request, message_text
from evolgen.backends import Embeddings, Response
from evolgen.backends.connection import Connection
from evolgen.backends.vectors import read_embeddings
from evolgen.config.address import Address
from evolgen.errors import Refused, TeacherError, Unanswered
from evolgen.records import printable

ADAPTABLE = ("schema", "max_tokens", "temperature", "top_p", "presence_penalty", "stop")
"""Parameters that an endpoint may refuse; the question is then put without them, or in another form."""


class OpenAIBackend:
    """One endpoint: all models behind a base URL.

    `key` is called when the first question goes out. `connections` is how many calls will be in flight,
    `timeout` is in seconds, for a whole call.
    """

    def __init__(self, address: Address, key: Callable[[], str | None], *, timeout: float, connections: int) -> None:
        self.connection = Connection(address, key, timeout=timeout, connections=connections)
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        self._refused_embedding: defaultdict[str, set[str]] = defaultdict(set)

    async def complete(self, model: str, request: Request, extra: dict[str, Any] | None = None) -> Response:
        """One attempt, in as many forms as it takes to learn what the endpoint accepts.

        `extra` goes into the body as it is.
        """

        def body(without: Set[str]) -> Response:
            return _body(model, request, without) | (extra or {})

        def lesson(failure: TeacherError, known: Set[str]) -> str | None:
            return _lesson(failure, request, known)

        response, form = await self._put(self._refused[model], _path(request), body, lesson)
        return checked(response) | {"form": form}

    def written(self, model: str, request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
        """The body that a question would go out with now, and its form."""
        without = self._refused[model]
        return _body(model, request, without), {"path": _path(request), "without": sorted(without)}

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """One attempt; vectors come as base64 where the endpoint can, which is a fifth of the bytes of the numbers."""

        def body(without: Set[str]) -> Response:
            compact = {} if "encoding_format" in without else {"encoding_format": "base64"}
            return {"model": model, "input": [printable(text) for text in texts], **compact}

        response, form = await self._put(self._refused_embedding[model], "/embeddings", body, _embedding_lesson)
        answer = read_embeddings(response, len(texts))
        return Embeddings(answer.vectors, {**answer.call, "form": form})

    def leave(self) -> None:
        pass

    async def close(self) -> None:
        await self.connection.close()

    async def _put(
        self,
        refused: set[str],
        path: str,
        body: Callable[[Set[str]], Response],
        lesson: Callable[[TeacherError, Set[str]], str | None],
    ) -> tuple[object, dict[str, Any]]:
        """Post a question, without the parameters known to be refused; returns the response and the form it took."""
        while True:
            without = sorted(refused)
            try:
                response = await self.connection.post(path, body(refused))
            except TeacherError as failure:
                learned = lesson(failure, refused)
                if learned is None and set(without) == refused:
                    raise
                if learned is not None:
                    refused.add(learned)
                continue  # put it again in the form just learned, here or by another call meanwhile
            return response, {"path": path, "without": without}


def _path(request: Request) -> str:
    return "/chat/completions" if request.prompt is None else "/completions"


def checked(response: object) -> Response:
    """A response with a choice is an answer; anything else is a failed attempt."""
    if not isinstance(response, dict):
        raise Unanswered("malformed", f"the response is not a JSON object: {str(response)[:60]!r}")
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        error = response.get("error")
        raise Unanswered("no_choices", f"the response has no choices{f': {str(error)[:100]}' if error else ''}")
    if not isinstance(choices[0], dict) or message_text(choices[0]) is None:
        raise Unanswered("malformed", "the response's first choice has no text")
    return response


def _body(model: str, request: Request, without: Set[str]) -> dict[str, Any]:
    """The request as this endpoint takes it."""
    textual = "schema" in without and request.textual
    messages = [{"role": role, "content": content} for role, content in (textual or request.messages)]
    body: dict[str, Any] = {"model": model}
    if request.schema is not None and "schema" in without and messages and not textual:
        messages[-1]["content"] += f"\n\nAnswer with JSON that follows this schema:\n{json.dumps(request.schema)}"
    elif request.schema is not None and "schema" not in without:
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    body |= {"messages": messages} if request.prompt is None else {"prompt": request.prompt}
    sampling = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "stop": list(request.stop) or None,
    }
    body |= {name: value for name, value in sampling.items() if value is not None and name not in without}
    if request.max_tokens is not None:
        body["max_completion_tokens" if "max_tokens" in without else "max_tokens"] = request.max_tokens
    return body


def _lesson(failure: TeacherError, request: Request, known: Set[str]) -> str | None:
    """Which parameter a refused request was refused for, if that can be told and is news."""
    if not isinstance(failure, Refused) or failure.rule != "bad_request" or failure.status is None:
        return None
    named, message = failure.param, failure.said.lower()
    complaint = any(word in message for word in ("unsupported", "not support", "unrecognized", "unknown", "extra"))
    for name in ADAPTABLE:
        words = ("response_format", "json_schema", "schema", "grammar") if name == "schema" else (name,)
        mentioned = named in words or (complaint and any(word in message for word in words))
        if mentioned and name not in known and getattr(request, name) not in (None, ()):
            return name
    return None


def _embedding_lesson(failure: TeacherError, known: Set[str]) -> str | None:
    """Whether a call for embeddings was refused because they were wanted as base64."""
    told = failure.said.lower()
    refused = isinstance(failure, Refused) and ("encoding_format" in told or "base64" in told)
    return "encoding_format" if refused and "encoding_format" not in known else None
