"""A function in the place of the engine: pipelines are given `ask` and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from evolgen.asking import Answer, Ask, Request
from evolgen.errors import TeacherError

Replies = Callable[[Request], str | Answer | TeacherError]


def answer(text: str, finish_reason: str = "stop", refusal: str | None = None) -> Answer:
    return Answer("k" * 16, "m", text, finish_reason, refusal)


def asking(replies: Replies) -> tuple[Ask, list[Request]]:
    """An `ask` that is answered by a function, and what it was asked."""
    asked: list[Request] = []

    async def ask(request: Request) -> Answer:
        asked.append(request)
        reply = replies(request)
        if isinstance(reply, TeacherError):
            raise reply
        return answer(reply) if isinstance(reply, str) else reply

    return ask, asked
