"""What a pipeline asks and what it gets back; `Ask` is the only side effect that a pipeline has."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from evolgen.parsing import visible
from evolgen.parsing.finish import Finish, finish_of
from evolgen.parsing.forms import AnswerForm
from evolgen.records import Message
from evolgen.usage import Usage, read_usage

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

Role = Literal["evolve", "invent", "judge", "answer", "embed"]
"""What a question is for; it decides which of the run's models is asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question as a pipeline means it, with every sampling parameter that matters.

    Either `messages` (a chat) or `prompt` (a plain completion). `sample` tells apart several answers wanted to
    the same question, and `repeat` the same question put again in one lineage. `schema` is a JSON schema that
    the answer should follow, and `textual` are the messages for an endpoint that takes none. `form` is what the answer
    is to look like (None: plain words), for whoever makes one up.
    """

    role: Role
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    textual: tuple[Message, ...] = ()
    sample: int = 0
    repeat: int = 0
    form: AnswerForm | None = field(default=None, compare=False)

    def key(self, identity: Mapping[str, Any]) -> bytes:
        """The sha256 of the canonical request put to the model that `identity` describes.

        What is not set is left out, so that a parameter added later leaves the old keys as they are. The role
        is left out too: it is no part of the question; nor are `form` and `textual`, the same question in other words.
        """
        question = {
            "messages": self.messages or None,
            "prompt": self.prompt,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "presence_penalty": self.presence_penalty,
            "max_tokens": self.max_tokens,
            "stop": self.stop or None,
            "schema": self.schema,
            "sample": self.sample,
            "repeat": self.repeat or None,
        }
        return _digest({name: value for name, value in question.items() if value is not None}, identity)


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A text whose embedding is wanted."""

    text: str

    def key(self, identity: Mapping[str, Any]) -> bytes:
        """As that of a `Request`; no chat or completion has a field `embed`, so that the two never meet."""
        return _digest({"embed": self.text}, identity)


def _digest(question: Mapping[str, Any], identity: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(_canonical({**question, **identity}).encode()).digest()


@dataclass(frozen=True, slots=True)
class Answer:
    """A teacher's answer: the visible text of its first choice, and how that choice ended.

    `key` is the first 16 hex digits of the request's key, `model` the name of the model that answered. `finish_reason`
    is the endpoint's word for its end, `finish` what that means. `refusal` is its own word for a refusal, `usage` its
    count of tokens, `without` what the question had to be put without.
    """

    key: str
    model: str
    text: str
    finish_reason: str
    refusal: str | None
    usage: Usage | None = None
    without: tuple[str, ...] = ()

    @property
    def finish(self) -> Finish:
        return finish_of(self.finish_reason)

    @property
    def cut(self) -> bool:
        """Whether it ran into its token limit."""
        return self.finish == "cut"

    @classmethod
    def read(cls, key: bytes, model: str, response: Any) -> Answer:
        """Read a response as it is stored; raises ValueError where that is none."""
        try:
            choice = response["choices"][0]
            text = message_text(choice)
            message = choice.get("message") or {}
            reason = choice.get("finish_reason")
            form = response.get("form") or {}
            refusal = message.get("refusal")
            return cls(
                key=key.hex()[:16],
                model=model,
                text=visible(text or ""),
                finish_reason="" if reason is None else str(reason),
                refusal=str(refusal) if refusal else None,
                usage=read_usage(response.get("usage")),
                without=tuple(map(str, form.get("without", ()))),
            )
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


Ask: TypeAlias = Callable[[Request], Awaitable[Answer]]
"""Raises TeacherError (Refused or Unanswered) where there will be no answer."""


def read_answer(key: bytes, model: str, stored: str) -> Answer:
    """Read an answer as it is stored; raises ValueError where it is damaged."""
    return Answer.read(key, model, read_stored(stored))


def read_stored(stored: str) -> Any:
    """The JSON that is stored; raises ValueError for anything else."""
    try:
        return json.loads(stored)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


Vector: TypeAlias = bytes
"""An embedding: little-endian float32 numbers, one after the other; `numpy.frombuffer(vector, "<f4")` reads it."""


def stored_vector(vector: Vector, call: Mapping[str, Any] | None = None) -> str:
    """A vector as the store holds it: a JSON object with the vector in base64.

    One call answers for many texts: what the endpoint said beside the vectors (`call`: its `model`, `usage`, the
    `form` of the question, how many `texts`) is kept once, with the first of them.

    >>> stored_vector(b"\\0\\0\\x80?", {"texts": 2}), stored_vector(b"\\0\\0\\0@")
    ('{"embedding": "AACAPw==", "call": {"texts": 2}}', '{"embedding": "AAAAQA=="}')
    """
    stored: dict[str, Any] = {"embedding": base64.b64encode(vector).decode()}
    return json.dumps(stored if call is None else stored | {"call": call})


def read_vector(answer: str) -> Vector:
    """Read a vector as it is stored; raises ValueError where that is none.

    >>> read_vector('{"embedding": "AAAAQA=="}')
    b'\\x00\\x00\\x00@'
    """
    try:
        vector = base64.b64decode(read_stored(answer)["embedding"], validate=True)
    except (TypeError, LookupError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not vector or len(vector) % 4:
        raise ValueError(f"{len(vector)} bytes are no vector")
    return vector


def message_text(choice: Mapping[str, Any]) -> str | None:
    """The text of a chat or completion choice; None where the choice has neither shape.

    >>> message_text({"message": {"content": "hi"}}), message_text({"text": "hi"}), message_text({})
    ('hi', 'hi', None)
    """
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(map(_part_text, content))
    return content if isinstance(content, str) else None


def _part_text(part: object) -> str:
    """The text of a part of a message's content; parts of other kinds have none."""
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""
