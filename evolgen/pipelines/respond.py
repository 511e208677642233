"""Answering instructions and conversations: one question a row, several answers to each if wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from evolgen.asking import Ask, Request
from evolgen.config.respond import RespondConfig
from evolgen.errors import TeacherError
from evolgen.pipelines.draft import Draft
from evolgen.records import Prompt, Record

NAME = "respond"

ANSWER = "answer"
"""What stands for an operator in its rows."""


@dataclass(frozen=True)
class Visit:
    """A prompt, and which of its answers this is (from 0)."""

    prompt: Prompt
    sample: int = 0


def visits(prompts: Sequence[Prompt], config: RespondConfig) -> Iterator[Visit]:
    """The first answer to each prompt, then the second to each, and so on."""
    return (Visit(prompt, sample) for sample in range(config.samples) for prompt in prompts)


async def respond(visit: Visit, ask: Ask, config: RespondConfig) -> AsyncIterator[Record]:
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
        rejected = await draft.take_output(ask, _request(visit, config))
        yield rejected or draft.end()
    except TeacherError as error:
        yield draft.failed(error)


def _request(visit: Visit, config: RespondConfig) -> Request:
    """The question that a prompt is; the system message goes before those that have none of their own."""
    prompt = visit.prompt
    messages = prompt.messages or (("user", prompt.text),)
    if config.system is not None and messages[0][0] != "system":
        messages = (("system", config.system), *messages)
    return Request(
        "answer",
        messages,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        sample=visit.sample,
    )
