"""What all pipelines share: a row in the making, draws, and questions that are asked side by side."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from evolgen.asking import Answer, Ask, Request
from evolgen.errors import Refused, TeacherError
from evolgen.records import (
    Message,
    Prompt,
    Provenance,
    Record,
    Rejection,
    Stage,
    Turn,
    printable,
    record_id,
    unprintable,
)

T = TypeVar("T")

CUT = "the {} was cut at {} tokens (--max-tokens)"


@dataclass
class Draft:
    """One row in the making: it collects what was asked for it, and knows how to end.

    `root` is empty where the row itself is the root: its instruction came from nowhere else.
    """

    pipeline: str
    operator: str
    root: str = ""
    round: int = 0
    sample: int = 0
    parents: tuple[str, ...] = ()
    prompt: str = ""
    messages: tuple[Message, ...] | None = None
    instruction: str = ""
    input: str = ""
    output: str = ""
    model: str = ""
    requests: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    grown_from: str = ""

    async def hear(self, ask: Ask, request: Request) -> Answer:
        """Ask for this row; raises TeacherError, also where the answer is the endpoint's refusal."""
        answer = await ask(request)
        self.requests += (answer.key,)
        if request.role != "judge":
            self.model = answer.model
        if answer.refusal is not None:
            raise Refused("refusal", f"the teacher refused: {printable(answer.refusal)[:200]}")
        if answer.finish == "filtered":
            raise Refused("content_filter", "the endpoint's content filter stopped the answer")
        if answer.finish in ("failed", "unknown"):
            ended = printable(answer.finish_reason)[:100]
            raise Refused("finish_reason", f"the answer ended for a reason that evolgen doesn't know: {ended}")
        return answer

    async def take_output(self, ask: Ask, request: Request) -> Record | None:
        """Ask for the output; returns the rejected row if what came can't be one."""
        answer = await self.hear(ask, request)
        if bad := unprintable(answer.text):
            return self.reject("parse", "unprintable", f"the answer has a {bad}", raw=answer.text)
        self.output = answer.text
        if answer.cut:
            return self.reject("parse", "cut", CUT.format("answer", request.max_tokens))
        return None if answer.text else self.reject("parse", "empty_answer", "the answer is empty")

    def end(self, rejection: Rejection | None = None) -> Record:
        provenance = Provenance(
            pipeline=self.pipeline,
            operator=self.operator,
            round=self.round,
            parents=self.parents,
            root=self.root or record_id(self.instruction, ""),
            model=self.model,
            sample=self.sample,
            prompt=self.prompt,
            requests=self.requests,
        )
        turns = None
        if self.messages is not None:
            answered = (*self.messages, ("assistant", self.output)) if self.output else self.messages
            turns = tuple(Turn(role=role, content=content) for role, content in answered)
        return Record(
            id=Prompt(self.instruction, self.input, self.messages).id,
            messages=turns,
            instruction=self.instruction,
            input=self.input,
            output=self.output,
            provenance=provenance,
            rejection=rejection,
            notes=self.notes,
            grown_from=self.grown_from,
        )

    def reject(self, stage: Stage, rule: str, reason: str, raw: str | None = None) -> Record:
        return self.end(Rejection(stage=stage, rule=rule, reason=reason, raw=None if raw is None else printable(raw)))

    def failed(self, error: TeacherError) -> Record:
        """The row that ends for want of an answer."""
        return self.reject("backend", error.rule, str(error))


def draw(*parts: object) -> float:
    """A number in [0, 1) from the digest of what it is drawn for; the same on every machine.

    >>> draw(0, "root", 1) == draw(0, "root", 1) != draw(0, "root", 2)
    True
    """
    return draw_integer(*parts) / 2**56


def draw_integer(*parts: object) -> int:
    """As `draw`, from 0 to 2^56 - 1."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


async def together(work: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Do several things side by side; what one of them raises doesn't stop the others, and is returned in its place."""
    return await asyncio.gather(*work, return_exceptions=True)
