"""A few rows of a dataset to look at: evolutions each with the seed it grew from, tasks and answers as they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jsonlines

from evolgen.formats.inputs import source_rows
from evolgen.formats.seeds import instruction_of
from evolgen.formats.shapes import Unusable
from evolgen.records import record_id

LOOK_AT = 500
"""Rows of the output from which the examples are picked."""


class Example(NamedTuple):
    """One evolution; `seed` is empty where the seed can't be read again (standard input)."""

    seed: str
    operator: str
    evolved: str
    answer: str


def examples(out: Path, seeds: Iterable[str | Path | dict[str, Any]], most: int = 5) -> list[Example]:
    """The first accepted row of each operator, up to `most` rows, from the first round where it has one."""
    picked: dict[str, dict[str, Any]] = {}
    with jsonlines.open(out) as reader:
        for row in itertools.islice(reader, LOOK_AT):
            provenance = row["provenance"]
            known = picked.get(provenance["operator"])
            if provenance["round"] > 0 and (known is None or provenance["round"] < known["provenance"]["round"]):
                picked[provenance["operator"]] = row
    rows = sorted(picked.values(), key=lambda row: int(row["provenance"]["round"]))[:most]
    texts = _seed_texts({row["provenance"]["root"] for row in rows}, seeds)
    return [
        Example(
            texts.get(row["provenance"]["root"], ""), row["provenance"]["operator"], row["instruction"], row["output"]
        )
        for row in rows
    ]


class Task(NamedTuple):
    """One row as it is; of a conversation the user's last turn and the answer."""

    instruction: str
    input: str
    output: str


def tasks(out: Path, most: int = 5) -> list[Task]:
    """The first row of each of the first tasks."""
    picked: dict[str, Task] = {}
    with jsonlines.open(out) as reader:
        for row in itertools.islice(reader, LOOK_AT):
            turns = [turn["content"] for turn in row.get("messages", ())]
            said = Task(turns[-2], "", turns[-1]) if turns else Task(row["instruction"], row["input"], row["output"])
            picked.setdefault(row["provenance"]["root"], said)
            if len(picked) == most:
                break
    return list(picked.values())


def _seed_texts(wanted: set[str], seeds: Iterable[str | Path | dict[str, Any]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for row in source_rows((source for source in seeds if str(source) != "-"), "seeds"):
        if len(texts) == len(wanted):
            break
        try:
            instruction, input = instruction_of(row.value)
        except Unusable:
            continue
        if (id := record_id(instruction, input)) in wanted:
            texts[id] = instruction
    return texts
