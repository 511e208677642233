"""A teacher that reads its answers from a file or a function: for tests, docs and trying a pipeline."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from evolgen.asking import Request, Vector
from evolgen.backends import Embeddings, Response
from evolgen.errors import Refused, UsageError

Script = Callable[[Request], str | Response]
"""A question -> the answer's text, or a whole response."""

WORD_VECTOR = 256
"""Numbers in the vector that a scripted teacher gives for a text."""


def _pattern(value: Any) -> Any:
    return re.compile(value, re.DOTALL) if isinstance(value, str) else value


class Line(BaseModel):
    """One line of a script: `answer` goes out where `match`, a regular expression, is found in the question.

    In `answer`, `{last}` is the last message; `{1}`, `{2}`, ... are the groups of `match`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    match: Annotated[re.Pattern[str], BeforeValidator(_pattern)] = re.compile("")
    answer: str
    finish_reason: str = "stop"


class ScriptedBackend:
    """Answers questions with a function, in process; `embedding` gives the vector of a text."""

    def __init__(self, script: Script, embedding: Callable[[str], Sequence[float]] | None = None) -> None:
        self._script = script
        self._embedding = embedding or word_vector

    async def complete(self, model: str, request: Request) -> Response:
        answer = self._script(request)
        return answer if isinstance(answer, dict) else response(answer)

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        return Embeddings([_packed(self._embedding(text)) for text in texts], {"model": model})

    def leave(self) -> None:
        pass

    async def close(self) -> None:
        pass


def response(text: str, finish_reason: str = "stop") -> Response:
    """A response with one choice."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def word_vector(text: str) -> list[float]:
    """A vector of length 1 that depends on which words a text has: texts that share words are near each other.

    >>> bread, loaf, stocks = map(word_vector, ("Bake bread.", "bake a bread", "Stocks fell."))
    >>> near, far = (sum(a * b for a, b in zip(bread, other)) for other in (loaf, stocks))
    >>> round(near, 2), round(far, 2)
    (0.82, 0.0)
    """
    vector = [0.0] * WORD_VECTOR
    for word in re.findall(r"\w+", text.lower()) or [text]:
        digest = hashlib.sha256(word.encode("utf-8", "backslashreplace")).digest()
        vector[int.from_bytes(digest[:2], "big") % WORD_VECTOR] += 1.0
    length = math.hypot(*vector)
    return [number / length for number in vector]


def _packed(numbers: Sequence[float]) -> Vector:
    vector = array("f", numbers)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector.tobytes()


def read_script(path: Path) -> Script:
    """Read a script (JSONL, see `Line`): the first line that matches the question answers it."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"script {path}: can't be read ({error})") from error
    lines = []
    for number, source in enumerate(text.splitlines(), start=1):
        if source.strip():
            try:
                lines.append(Line(**json.loads(source)))
            except (ValueError, TypeError, ValidationError, re.error) as error:
                problem = str(error).splitlines()[0]
                raise UsageError(
                    f'script {path}, line {number}: not a line such as {{"match": "...", "answer": "..."}} ({problem})'
                ) from error

    def script(request: Request) -> Response:
        last = request.prompt if request.prompt is not None else request.messages[-1][1]
        question = "\n".join(content for _, content in request.messages) or last
        for line in lines:
            if found := line.match.search(question):
                return response(_fill(line.answer, last, found), line.finish_reason)
        raise Refused("unscripted", f"no line of the script matches {last[:60]!r}")

    return script


def _fill(answer: str, last: str, found: re.Match[str]) -> str:
    def value(placeholder: re.Match[str]) -> str:
        name = placeholder[1]
        if name == "last":
            return last
        return (found[int(name)] or "") if int(name) <= found.re.groups else placeholder[0]

    return re.sub(r"\{(last|[1-9])\}", value, answer)
