"""How many tokens a call will take, before anyone knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from evolgen.asking import Request, Role
from evolgen.backends import Embeddings
from evolgen.usage import Usage, read_usage

CHARACTERS = 4
"""Characters of a prompt in a token, roughly."""

FIRST_GUESS = 256
"""Tokens of an answer before the first one came."""


class TokenEstimate:
    """Estimates the tokens of a question and its answer: the prompt by its length, the answer by earlier ones."""

    def __init__(self) -> None:
        self._answers: defaultdict[Role, int] = defaultdict(lambda: 1)
        self._tokens: defaultdict[Role, float] = defaultdict(lambda: float(FIRST_GUESS))

    def of(self, request: Request) -> float:
        """Tokens of a question and its answer."""
        answer = self._tokens[request.role] / self._answers[request.role]
        most = answer if request.max_tokens is None else min(answer, request.max_tokens)
        return prompt_tokens(request) + most

    def learn(self, role: Role, usage: Usage | None) -> None:
        """What a call took, by the endpoint's own count."""
        if usage is not None:
            self._answers[role] += 1
            self._tokens[role] += usage.completion


def prompt_tokens(request: Request) -> float:
    """Tokens of a question, estimated.

    >>> prompt_tokens(Request("answer", (("user", "Name a river."),)))
    3.25
    """
    return sum(len(text) for _, text in request.messages) / CHARACTERS + len(request.prompt or "") / CHARACTERS


def usage_of(outcome: object) -> Usage | None:
    """What an endpoint says a call took, of a response or of embeddings."""
    answer = outcome.call if isinstance(outcome, Embeddings) else outcome
    return read_usage(answer.get("usage")) if isinstance(answer, Mapping) else None
