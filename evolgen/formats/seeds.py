"""Raw rows -> seed instructions, whatever shape the rows have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evolgen.formats.inputs import Inputs
from evolgen.formats.rows import RawRow
from evolgen.formats.texts import HUMAN, INSTRUCTION_KEYS, TURN_KEYS, Unusable, texts_of, turns_of
from evolgen.records import Seed, record_id, unprintable


def instruction_of(row: Any) -> tuple[str, str]:
    """The (instruction, input) of a row in any known shape; raises Unusable.

    Known are a bare text, Alpaca and GPTeacher (instruction, input), Self-Instruct (instruction, instances: the
    first one's input), and conversations, of which the first human turn is taken (messages, ShareGPT, turns).

    >>> instruction_of({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]})
    ('Add.', '1 2')
    >>> instruction_of({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})
    ('Hi', '')
    """
    if isinstance(row, str):
        instruction, input = row, ""
    elif isinstance(row, dict):
        instruction, input = _from_mapping(row)
    else:
        raise Unusable("unknown_shape", f"a row must be an object or a text, not {type(row).__name__}")
    instruction, input = instruction.strip(), input.strip()
    if not instruction:
        raise Unusable("no_instruction", "the instruction is empty")
    for name, text in (("instruction", instruction), ("input", input)):
        if bad := unprintable(text):
            raise Unusable("unprintable", f"the {name} has a {bad}")
    return instruction, input


def _from_mapping(row: Mapping[str, Any]) -> tuple[str, str]:
    for key in INSTRUCTION_KEYS:
        if isinstance(row.get(key), str):
            return row[key], _input_of(row)
        if row.get(key) is not None and key == "instruction":
            raise Unusable("unknown_shape", f"{key} must be a text, not {type(row[key]).__name__}")
    for key in TURN_KEYS:
        if isinstance(row.get(key), list):
            return _first_human_turn(row[key]), ""
    known = ", ".join((*INSTRUCTION_KEYS, *TURN_KEYS))
    raise Unusable("unknown_shape", f"the row has none of the fields {known}")


def _input_of(row: Mapping[str, Any]) -> str:
    instances = row.get("instances")
    if isinstance(instances, list) and instances and isinstance(instances[0], dict):
        row = instances[0]
    value = row.get("input")
    if value is not None and not isinstance(value, str):
        raise Unusable("unknown_shape", f"input must be a text, not {type(value).__name__}")
    return value or ""


def _first_human_turn(turns: Sequence[Any]) -> str:
    text = next((text for role, text in turns_of(turns) if role in HUMAN), None)
    if text is None:
        raise Unusable("no_instruction", "the conversation has no human turn")
    return text


def read_seeds(rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> Inputs[Seed]:
    """The seeds of a run; raises UsageError as `Inputs` does."""
    seen: Counter[str] = Counter()

    def seed_of(row: Any) -> Seed:
        instruction, input = instruction_of(row)
        id = record_id(instruction, input)
        seen[id] += 1
        return Seed(instruction=instruction, input=input, output=_output_of(row), occurrence=seen[id] - 1)

    return Inputs(rows, seed_of, pipeline, strict=strict)


def _output_of(row: Any) -> str:
    """The answer that a row comes with, if it is one to a single question and fit to be shown."""
    if not isinstance(row, dict) or not any(isinstance(row.get(key), str) for key in INSTRUCTION_KEYS):
        return ""
    output = (texts_of(row).output or "").strip()
    return "" if unprintable(output) else output
