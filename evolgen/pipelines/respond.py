"""Answering instructions and conversations: one question a row, several answers to each if wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from evolgen.asking import Ask, Request
from evolgen.errors import TeacherError
from evolgen.pipelines.draft import Draft
from evolgen.records import Prompt, Record

NAME = "respond"

ANSWER = "answer"
"""What stands for an operator in its rows."""

TEMPERATURE = 0.7
TOP_P = 1.0


@dataclass(frozen=True)
class Plan:
    """How a run asks; `system` goes before questions that have no system message of their own."""

    system: str | None = None
    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    max_tokens: int = 2048

    def request(self, prompt: Prompt, sample: int) -> Request:
        """The question that a prompt is."""
        text = f"{prompt.instruction}\n\n{prompt.input}" if prompt.input else prompt.instruction
        messages = prompt.messages or (("user", text),)
        if self.system is not None and messages[0][0] != "system":
            messages = (("system", self.system), *messages)
        return Request(
            "answer",
            messages,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            sample=sample,
        )


@dataclass(frozen=True)
class Visit:
    """A prompt, and which of its answers this is (from 0)."""

    prompt: Prompt
    sample: int = 0


async def respond(visit: Visit, ask: Ask, plan: Plan) -> AsyncIterator[Record]:
    """One answer to one prompt: yields its row."""
    prompt = visit.prompt
    draft = Draft(
        NAME,
        ANSWER,
        prompt.id,
        sample=visit.sample,
        messages=prompt.messages,
        instruction=prompt.instruction,
        input=prompt.input,
    )
    try:
        rejected = await draft.take_output(ask, plan.request(prompt, visit.sample))
        yield rejected or draft.end()
    except TeacherError as error:
        yield draft.failed(error)
