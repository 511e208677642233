"""A teacher that reads its answers from a file or a function: for tests, docs and trying a pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from evolgen.asking import Request
from evolgen.backends import Response
from evolgen.errors import Refused, UsageError

Script = Callable[[Request], str | Response]
"""A question -> the answer's text, or a whole response."""


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
    """Answers questions with a function, in process."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def complete(self, model: str, request: Request) -> Response:
        answer = self._script(request)
        return answer if isinstance(answer, dict) else response(answer)

    async def close(self) -> None:
        pass


def response(text: str, finish_reason: str = "stop") -> Response:
    """A response with one choice."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def read_script(path: Path) -> Script:
    """Read a script (JSONL, see `Line`): the first line that matches the question answers it."""
    try:
        text = path.read_text("utf-8")
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
