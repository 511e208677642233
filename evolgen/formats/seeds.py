"""Rows of any known shape -> seed instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from evolgen.formats.inputs import Inputs
from evolgen.formats.rows import RawRow
from evolgen.formats.shapes import HUMAN, Row, Unusable, read_row
from evolgen.records import Seed, record_id, unprintable


def instruction_of(value: Any) -> tuple[str, str]:
    """The (instruction, input) of a row in any known shape, of a conversation its first human turn; raises Unusable.

    >>> instruction_of({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]})
    ('Add.', '1 2')
    >>> instruction_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})
    ('Hi', '')
    """
    return _instruction(read_row(value))


def _instruction(row: Row) -> tuple[str, str]:
    if row.turns is None:
        instruction, input = row.instruction.strip(), row.input.strip()
    else:
        said = next((text for role, text in row.turns if role in HUMAN and text is not None), None)
        if said is None:
            raise Unusable("no_instruction", "the conversation has no human turn")
        instruction, input = said.strip(), ""
    if not instruction:
        raise Unusable("no_instruction", "the instruction is empty")
    for name, text in (("instruction", instruction), ("input", input)):
        if bad := unprintable(text):
            raise Unusable("unprintable", f"the {name} has a {bad}")
    return instruction, input


def read_seeds(rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> Inputs[Seed]:
    """The seeds of a run; raises UsageError as `Inputs` does."""
    seen: Counter[str] = Counter()

    def seed_of(value: Any) -> Seed:
        row = read_row(value)
        instruction, input = _instruction(row)
        id = record_id(instruction, input)
        seen[id] += 1
        output = (row.output or "").strip()  # shown as an example where it is fit to be shown
        return Seed(
            instruction=instruction,
            input=input,
            output="" if unprintable(output) else output,
            occurrence=seen[id] - 1,
        )

    return Inputs(rows, seed_of, pipeline, strict=strict)
