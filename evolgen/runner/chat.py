"""A conversation with a model behind an OpenAI-compatible endpoint, the bundled server's or another's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolgen.errors import EvolgenError, ModelError, UsageError, nearest
from evolgen.runner.replies import pieces

if TYPE_CHECKING:
    import openai

PARAMETERS: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0.0, 2.0),
    "top_p": (float, 0.0, 1.0),
    "max_tokens": (int, 1, 10**6),
    "presence_penalty": (float, -2.0, 2.0),
    "frequency_penalty": (float, -2.0, 2.0),
    "seed": (int, 0, 2**31),
}
"""What can be set for all further answers: its type, the least and the most."""


class Chat:
    """Messages so far and how the next answer is sampled; `speed` is the last answer's, in tokens a second, or None
    where it came in one piece.

    What the client fails with is raised as what `explain` makes of it; `hide` takes the secrets out of what an endpoint
    tells.
    """

    def __init__(
        self,
        client: openai.OpenAI,
        model: str,
        *,
        system: str | None = None,
        explain: Callable[[Exception], EvolgenError] = lambda error: ModelError(str(error)),
        hide: Callable[[str], str] = str,
    ) -> None:
        self.model = model
        self.system = system
        self.turns: list[dict[str, str]] = []
        self.parameters: dict[str, Any] = {"temperature": 0.7, "max_tokens": 1024}
        self.speed: float | None = None
        self._client = client
        self._explain = explain
        self._hide = hide

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation as an endpoint takes it, and as `save` writes it."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, *self.turns]

    def ask(self, text: str) -> Iterator[str]:
        """Say something; gives the answer in pieces as it comes.

        Of an answer that is cut short, by closing the iterator or by an error, what came is kept; where nothing came,
        the question is forgotten as well.
        """
        before = list(self.turns)
        self.turns.append({"role": "user", "content": text})
        yield from self._answer(before)

    def ask_again(self) -> Iterator[str]:
        """Another answer to what was said last, in its place if one comes; raises UsageError if nothing was."""
        before = list(self.turns)
        if self.turns and self.turns[-1]["role"] == "assistant":
            self.turns.pop()
        if not self.turns:
            raise UsageError("there is nothing to answer yet")
        yield from self._answer(before)

    def reset(self) -> None:
        """Forget all that was said; the system message and the parameters stay."""
        self.turns.clear()

    def set(self, text: str) -> None:
        """Set a parameter: "temperature=0.2"; "seed=" takes it back. Raises UsageError if it is none."""
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in PARAMETERS:
            near = nearest(name, PARAMETERS)
            raise UsageError(f"{name}: there is no such parameter{f'; did you mean {near}?' if near else ''} "
                             f"({', '.join(PARAMETERS)})")  # fmt: skip
        kind, least, most = PARAMETERS[name]
        if not value:
            self.parameters.pop(name, None)
            return
        try:
            number = kind(value)
        except ValueError as error:
            raise UsageError(f"{name}={value}: it takes {'a whole number' if kind is int else 'a number'}") from error
        if not least <= number <= most:
            raise UsageError(f"{name}={value}: it lies between {least:g} and {most:g}")
        self.parameters[name] = number

    def save(self, path: Path) -> None:
        """Append the conversation to a JSONL file, a row that the other commands read; raises UsageError."""
        if not self.turns:
            raise UsageError("there is nothing to save yet")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"messages": self.messages}, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UsageError(f"{path}: it can't be written ({error.strerror})") from error

    def _answer(self, before: list[dict[str, str]]) -> Iterator[str]:
        """The answer to the last turn; the turns are those `before` again where nothing comes."""
        import httpx2  # what the openai client is made of
        import openai

        said: list[str] = []
        tokens, first, end = 0, 0.0, ""
        try:
            with self._client.chat.completions.with_streaming_response.create(
                model=self.model,
                messages=self.messages,  # type: ignore[arg-type]
                stream=True,
                **self.parameters,
            ) as reply:
                for piece in pieces(reply.iter_bytes(), self._hide):
                    if piece.text:
                        tokens += 1
                        first = first or time.monotonic()
                        said.append(piece.text)
                        yield piece.text
                    tokens, end = piece.tokens or tokens, piece.end or end
        except (openai.OpenAIError, httpx2.HTTPError, OSError, ValueError) as error:
            raise self._explain(error) from None
        finally:
            seconds = time.monotonic() - first if first else 0.0
            self.speed = (tokens - 1) / seconds if len(said) > 1 and tokens > 1 and seconds > 0 else None
            if said:
                self.turns.append({"role": "assistant", "content": "".join(said)})
            else:
                self.turns[:] = before
        if not said and end == "length":
            raise ModelError("the model used up its tokens before it said anything; /params max_tokens= gives it more")
        if not said:
            raise ModelError("the model gave an empty answer; say it again, or differently")
