"""A stand-in for a teacher: answers with made-up words in the form that is asked for, as long as a guess has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from evolgen.asking import Answer, Request, Role
from evolgen.engine.tokens import prompt_tokens
from evolgen.pipelines import alpaca, self_instruct
from evolgen.usage import Usage

TASKS = self_instruct.LIST - self_instruct.DEMONSTRATIONS
WHOLE_TASKS = alpaca.LIST - alpaca.SEEDS


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
        longer = 3 if request.role == "invent" and _whole(request) else 1
        written = min(longer * self._guess.tokens[request.role], request.max_tokens or 10**9)
        usage = Usage(round(prompt_tokens(request)), 0, written)
        return Answer("0" * 16, "", self._text(request), "stop", None, usage)

    def _text(self, request: Request) -> str:
        question = repr((request.messages, request.prompt, request.sample, request.repeat))
        mark = hashlib.sha256(question.encode("utf-8", "replace")).hexdigest()
        fails = int(mark[:8], 16) < self._guess.failing * 2**32
        match request.role:
            case "judge":
                return "Equal" if fails else "Not Equal"
            case "evolve":
                return f"{request.messages[-1][1].partition(chr(10))[2]} {_words(mark, 12)}."
            case "invent":
                return self._list(request, mark)
        return _instances(request, mark, self._guess.instances)

    def _list(self, request: Request, mark: str) -> str:
        """As many tasks as are asked for, of which some say the same; whole ones for Alpaca."""
        whole = _whole(request)
        most = WHOLE_TASKS if whole else TASKS
        same = int(most * self._guess.failing)
        texts = [f"Explain {_words('same' if n < same else f'{mark} {n}', 10)}." for n in range(most)]
        if request.schema is not None:
            return json.dumps({"tasks": [{"instruction": text, "output": "So."} if whole else text for text in texts]})
        # a base model's prompt ends where the first of them begins: "9.", or "4. Instruction:" for a whole one
        first = int((request.prompt or "").removesuffix(" Instruction:").rstrip(".").rpartition("\n")[2])
        entries = [f"{first + n}. {'Instruction: ' if whole else ''}{text}" for n, text in enumerate(texts)]
        if whole:
            entries = [f"{entry}\n{first + n}. Output: So." for n, entry in enumerate(entries)]
        return "\n".join(entries).partition(": " if whole else ". ")[2]


def _whole(request: Request) -> bool:
    """Whether a list is of whole tasks, with their outputs: Alpaca's."""
    return "'output'" in str(request.schema) if request.schema is not None else "Output:" in (request.prompt or "")


def _instances(request: Request, mark: str, count: int) -> str:
    """An answer, or the instances of a task, in the form that is asked for."""
    words = [_words(f"{mark} {number}", 10) for number in range(count)]
    labels = "'label'" in str(request.schema) or "Label:" in (request.prompt or "")
    if request.schema is not None:
        return json.dumps({"instances": [{"label" if labels else "output": "one", "input": text} for text in words]})
    if request.prompt is not None:
        return "\n\n".join(f"Label: one\nInput: {text}" if labels else f"Input: {text}\nOutput: one" for text in words)
    return f"It is {words[0]}."


def _words(seed: str, count: int) -> str:
    """Made-up words that depend on nothing but the seed."""
    digits = hashlib.sha512(seed.encode()).hexdigest()
    table = str.maketrans("0123456789abcdef", "bdfgklmnprstvzai")
    return " ".join(f"{digits[at : at + 4].translate(table)}o" for at in range(0, 4 * count, 4))
