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
from evolgen.backends.connection import Connection, not_json
from evolgen.backends.forms import SPELLINGS, Forms
from evolgen.backends.vectors import read_embeddings
from evolgen.backends.words import told_of
from evolgen.config.address import Address
from evolgen.errors import Unanswered
from evolgen.parsing.finish import finish_of
from evolgen.records import Message, printable


class OpenAIBackend:
    """One endpoint: all models behind a base URL.

    `key` is called when the first question goes out. `connections` is how many calls will be in flight,
    `timeout` is in seconds, for a whole call.
    """

    def __init__(
        self,
        address: Address,
        key: Callable[[], str | None],
        *,
        timeout: float,
        connections: int,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.connection = Connection(address, key, timeout=timeout, connections=connections)
        self._forms: defaultdict[str, Forms] = defaultdict(lambda: Forms(tell))
        self._embedding_forms: defaultdict[str, Forms] = defaultdict(lambda: Forms(tell))

    async def complete(self, model: str, request: Request, extra: dict[str, Any] | None = None) -> Response:
        """One attempt, in as many forms as it takes to learn what the endpoint accepts.

        `extra` goes into the body as it is.
        """
        path = _path(request)

        async def put(without: Set[str]) -> Response:
            return checked(await self.connection.post(path, _body(model, request, without) | (extra or {})))

        response, without = await self._forms[model].put(parts_of(request), put)
        return response | {"form": {"path": path, "without": sorted(without)}}

    def written(self, model: str, request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
        """The body that a question would go out with now, and its form."""
        without = self._forms[model].best
        return _body(model, request, without), {"path": _path(request), "without": sorted(without)}

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """One attempt; vectors come as base64 where the endpoint can, which is a fifth of the bytes of the numbers."""
        body = {"model": model, "input": [printable(text) for text in texts]}

        async def put(without: Set[str]) -> Embeddings:
            compact = {} if without else {"encoding_format": "base64"}
            return read_embeddings(await self.connection.post("/embeddings", body | compact), len(texts))

        answer, without = await self._embedding_forms[model].put(("encoding_format",), put)
        return Embeddings(answer.vectors, {**answer.call, "form": {"path": "/embeddings", "without": sorted(without)}})

    def leave(self) -> None:
        pass

    async def close(self) -> None:
        await self.connection.close()


def parts_of(request: Request) -> list[str]:
    """The parts of a question that it could be put without, or in another way."""
    system = len(request.messages) > 1 and request.messages[0][0] == "system"
    return [
        part for part in SPELLINGS if (system if part == "system" else getattr(request, part, None) not in (None, ()))
    ]


def _path(request: Request) -> str:
    return "/chat/completions" if request.prompt is None else "/completions"


def checked(response: object) -> Response:
    """A response with a choice and without an error is an answer; anything else is a failed attempt."""
    if isinstance(response, str):
        raise not_json(response)
    if not isinstance(response, dict):
        raise Unanswered("malformed", f"the response is not a JSON object: {str(response)[:60]!r}")
    choices = response.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else ()
    if error := response.get("error") or (isinstance(choice, dict) and choice.get("error")):
        raise Unanswered("error", f"the response is an error: {told_of(error) or error!r:.100}")
    if choice == ():
        words = told_of(response)
        raise Unanswered("no_choices", f"the response has no choices{f': {words}' if words else ''}")
    if not isinstance(choice, dict):
        raise Unanswered("malformed", "the response's first choice is no object")
    finish = finish_of(choice.get("finish_reason"))
    if finish == "failed":
        raise Unanswered("broken_off", f"the answer broke off: finish_reason {choice['finish_reason']!r:.60}")
    if message_text(choice) is None and finish != "filtered":
        raise Unanswered("malformed", "the response's first choice has no text")
    return response


def _body(model: str, request: Request, without: Set[str]) -> dict[str, Any]:
    """The request as this endpoint takes it."""
    textual = "schema" in without and request.textual
    said = textual or request.messages
    if "system" in without:
        said = _without_system(said)
    messages = [{"role": role, "content": content} for role, content in said]
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


def _without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same messages, with what the system says at the beginning of the user's first turn."""
    users = [number for number, (role, _) in enumerate(messages) if role == "user"]
    if not users or messages[0][0] != "system":
        return messages
    (_, system), *rest = messages
    rest[users[0] - 1] = ("user", f"{system}\n\n{messages[users[0]][1]}")
    return tuple(rest)
