"""Rows of any known shape -> seed instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from evolgen.formats.inputs import Inputs
from evolgen.formats.rows import RawRow
from evolgen.formats.shapes import Row, Spoken, Unusable, read_row
from evolgen.records import Message, Seed, unprintable


def instruction_of(value: Any) -> tuple[str, str]:
    """The (instruction, input) of a row in any known shape, of a conversation its first human turn; raises Unusable.

    >>> instruction_of({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]})
    ('Add.', '1 2')
    >>> instruction_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})
    ('Hi', '')
    """
    return question_of(read_row(value))


def question_of(row: Row) -> tuple[str, str]:
    """The (instruction, input) of a row that was read."""
    if row.turns is None:
        instruction, input = row.instruction.strip(), row.input.strip()
    else:
        said = next((text for role, text in row.turns if role == "user" and text is not None), None)
        if said is None:
            raise Unusable("no_instruction", "the conversation has no human turn")
        instruction, input = said.strip(), ""
    if not instruction:
        raise Unusable("no_instruction", "the instruction is empty")
    for name, text in (("instruction", instruction), ("input", input)):
        if bad := unprintable(text):
            raise Unusable("unprintable", f"the {name} has a {bad}")
    return instruction, input


def before_of(turns: Sequence[Spoken]) -> tuple[Message, ...]:
    """What was said before a question, as messages; raises Unusable where a turn can't be put so."""
    return tuple(message_of(turn, number) for number, turn in enumerate(turns, start=1))


def message_of(turn: Spoken, number: int) -> Message:
    """A turn as a message to a teacher; `number` is its place, for the problem."""
    if turn.text is None or not turn.text.strip():
        raise Unusable("unknown_shape", f"turn {number} of the conversation holds no text")
    if turn.role not in ("user", "assistant", "system"):
        who = turn.role or "nobody"
        raise Unusable("unknown_shape", f"turn {number} of the conversation is by {who}: no teacher is asked with that")
    if bad := unprintable(turn.text):
        raise Unusable("unprintable", f"turn {number} of the conversation has a {bad}")
    return turn.role, turn.text.strip()


def read_seeds(rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> Inputs[Seed]:
    """The seeds of a run; raises UsageError as `Inputs` does."""
    seen: Counter[str] = Counter()

    def seed_of(value: Any) -> Seed:
        row = read_row(value)
        instruction, input = question_of(row)
        if row.turns is None:
            output, before = (row.output or "").strip(), row.before
        else:
            output, before = "", tuple(turn for turn in row.turns if turn.role == "system")[:1]
        seed = Seed(
            instruction=instruction,
            input=input,
            output="" if unprintable(output) else output,  # shown as an example where it is fit for it
            before=before_of(before),
        )
        seen[seed.id] += 1
        return seed.model_copy(update={"occurrence": seen[seed.id] - 1})

    return Inputs(rows, seed_of, pipeline, strict=strict)
