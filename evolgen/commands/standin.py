"""A stand-in for a teacher: answers with made-up words in the form that is asked for, as long as a guess has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from evolgen.asking import Answer, Request, Role
from evolgen.engine.tokens import prompt_tokens
from evolgen.usage import Usage

WORDS = 10


@dataclass(frozen=True)
class Guess:
    """How a teacher behaves: tokens of an answer by role, the share of evolutions and tasks that fail, the instances
    that it gives a task, its speed.
    """

    tokens: Mapping[Role, int]
    failing: float
    instances: int
    wait: float
    tokens_a_second: float


LUCKY = Guess({"evolve": 30, "invent": 350, "judge": 2, "answer": 60}, 0.0, 2, 0.3, 100.0)
UNLUCKY = Guess({"evolve": 120, "invent": 1200, "judge": 8, "answer": 500}, 2 / 3, 1, 1.5, 25.0)


class StandIn:
    """Answers in a teacher's place with made-up words, as long as a teacher's would be."""

    def __init__(self, guess: Guess) -> None:
        self._guess = guess

    async def ask(self, request: Request) -> Answer:
        longer = 1 if request.form is None else request.form.texts
        written = min(longer * self._guess.tokens[request.role], request.max_tokens or 10**9)
        usage = Usage(round(prompt_tokens(request)), 0, written)
        made = Invented(request, self._guess)
        as_json = request.schema is not None
        text = f"It is {made.words()}." if request.form is None else request.form.made_up(made, as_json=as_json)
        return Answer("0" * 16, "", text, "stop", None, usage)


class Invented:
    """What the answer to one question is made of (see `parsing.forms.MadeUp`)."""

    def __init__(self, request: Request, guess: Guess) -> None:
        question = repr((request.messages, request.prompt, request.sample, request.repeat))
        self._mark = hashlib.sha256(question.encode("utf-8", "replace")).hexdigest()
        self.fails = int(self._mark[:8], 16) < guess.failing * 2**32
        self.repeated = guess.failing
        self.instances = guess.instances

    def words(self, what: object = "") -> str:
        """Made-up words; of what is the `same` for all questions, the same."""
        digits = hashlib.sha512(f"{what if what == 'same' else f'{self._mark} {what}'}".encode()).hexdigest()
        table = str.maketrans("0123456789abcdef", "bdfgklmnprstvzai")
        return " ".join(f"{digits[at : at + 4].translate(table)}o" for at in range(0, 4 * WORDS, 4))
