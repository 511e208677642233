"""Raw rows -> seed instructions, whatever shape the rows have."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evolgen.errors import UsageError
from evolgen.formats.rows import RawRow, read_rows
from evolgen.formats.texts import HUMAN, INSTRUCTION_KEYS, TURN_KEYS, Unusable, turns_of
from evolgen.records import Provenance, Record, Rejection, Seed, printable, record_id, unprintable
from evolgen.spool import Spool


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


class Seeds(Sequence[Seed]):
    """The seeds of a run, by position; they lie in a spool, so that memory holds an address for each.

    `rejects` are the rows that could not be used, in order.
    """

    def __init__(self, rows: Iterable[RawRow], pipeline: str, *, strict: bool = False) -> None:
        """Read all rows; raises UsageError if none is usable, or, if `strict`, at the first unusable one."""
        self._spool: Spool[Seed] = Spool()
        self._rejects: Spool[Record] = Spool()
        self._addresses = array("Q")
        self._reject_addresses = array("Q")
        seen: Counter[str] = Counter()
        for row in rows:
            try:
                if row.problem is not None:
                    raise Unusable("unreadable", row.problem)
                instruction, input = instruction_of(row.value)
            except Unusable as problem:
                if strict:
                    raise UsageError(f"{row.place}: {problem} (--strict)") from problem
                reject = _input_reject(row, problem, pipeline)
                self._reject_addresses.append(self._rejects.append(reject))
                continue
            id = record_id(instruction, input)
            seed = Seed(instruction=instruction, input=input, occurrence=seen[id])
            seen[id] += 1
            self._addresses.append(self._spool.append(seed))
        if not self._addresses:
            first = next(self.rejects(), None)
            why = first.rejection.reason if first and first.rejection else "it is empty"
            raise UsageError(f"the input holds no usable seed instruction: {why}")

    def __len__(self) -> int:
        return len(self._addresses)

    def __getitem__(self, position: Any) -> Any:
        return self._spool[self._addresses[position]]

    def rejects(self) -> Iterator[Record]:
        """The rows that hold no usable instruction, as rejected records of stage `input`."""
        return (self._rejects[address] for address in self._reject_addresses)


def _input_reject(row: RawRow, problem: Unusable, pipeline: str) -> Record:
    id = record_id("", "")
    raw = row.value if isinstance(row.value, str) else json.dumps(row.value, ensure_ascii=False)
    return Record(
        id=id,
        instruction="",
        input="",
        output="",
        provenance=Provenance(pipeline=pipeline, operator="seed", round=0, root=id),
        rejection=Rejection(stage="input", rule=problem.rule, reason=f"{row.place}: {problem}", raw=printable(raw)),
    )


def source_rows(sources: Iterable[str | Path | dict[str, Any]]) -> Iterator[RawRow]:
    """The rows of all sources of a config: files, `-`, or rows given in place."""
    for number, source in enumerate(sources, start=1):
        if isinstance(source, dict):
            yield RawRow(f"seeds[{number}]", source)
        else:
            yield from read_rows(str(source))
