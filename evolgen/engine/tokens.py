"""How many tokens a call will take, before anyone knows."""

from __future__ import annotations

from collections import defaultdict

from evolgen.asking import Request, Role

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

    def learn(self, role: Role, response: object) -> float | None:
        """The tokens that a call took, by the endpoint's own count; None where it doesn't say."""
        usage = response.get("usage") if isinstance(response, dict) else getattr(response, "call", {}).get("usage")
        if not isinstance(usage, dict):
            return None
        prompt, answer = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        self._answers[role] += 1
        self._tokens[role] += answer
        return float(prompt + answer)


def prompt_tokens(request: Request) -> float:
    """Tokens of a question, estimated.

    >>> prompt_tokens(Request("answer", (("user", "Name a river."),)))
    3.25
    """
    return sum(len(text) for _, text in request.messages) / CHARACTERS + len(request.prompt or "") / CHARACTERS


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
