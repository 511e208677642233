"""The rules of Self-Instruct (Wang et al. 2022, section 2.2 and its code) and of Alpaca on instructions and instances.

They are the original ones to the letter, so that published data passes as it did there: words are runs between white
space, keywords are ASCII words, and a first character outside ASCII is a reason to reject.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from evolgen.parsing import words
from evolgen.records import Texts

FEWEST_WORDS, MOST_WORDS = 4, 150
MOST_INSTANCES = 5

SELF_INSTRUCT_WORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
    "go to",
)  # fmt: skip
ALPACA_WORDS = (*SELF_INSTRUCT_WORDS, "video", "audio", "music", "flowchart", "diagram")


def _whole_words(phrases: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b", re.IGNORECASE)


_SELF_INSTRUCT_WORDS = _whole_words(SELF_INSTRUCT_WORDS)
_ALPACA_WORDS = _whole_words(ALPACA_WORDS)


def instruction_length(instruction: str) -> str | None:
    """At most 3 or more than 150 words.

    >>> instruction_length("Name a river.")
    'the instruction has 3 words, fewer than 4'
    """
    count = len(words(instruction))
    if count < FEWEST_WORDS:
        return f"the instruction has {count} words, fewer than {FEWEST_WORDS}"
    return f"the instruction has {count} words, more than {MOST_WORDS}" if count > MOST_WORDS else None


def blocked_words(instruction: str) -> str | None:
    """Words for what a language model can't do: the thirteen of Self-Instruct.

    >>> blocked_words("Plot the function."), blocked_words("Explain this mapping.")
    ('the instruction has the word "Plot"', None)
    """
    return _blocked(_SELF_INSTRUCT_WORDS, instruction)


def alpaca_blocked_words(instruction: str) -> str | None:
    """The same and video, audio, music, flowchart, diagram.

    >>> alpaca_blocked_words("Describe this music.")
    'the instruction has the word "music"'
    """
    return _blocked(_ALPACA_WORDS, instruction)


def writes_program(instruction: str) -> str | None:
    """It starts with "Write a program"."""
    return 'the instruction starts with "Write a program"' if instruction.startswith("Write a program") else None


def odd_start(instruction: str) -> str | None:
    """It starts with punctuation or with a character outside ASCII.

    >>> odd_start("¿Qué es esto?")
    'the instruction starts with "¿", which is not ASCII'
    """
    first = instruction[:1]
    if first in string.punctuation and first:
        return f'the instruction starts with "{first}", which is punctuation'
    return None if first.isascii() else f'the instruction starts with "{first}", which is not ASCII'


def same_as_input(row: Texts) -> str | None:
    """The answer is the input again."""
    return "the output is the input again" if row.output is not None and row.input == row.output else None


def no_output(output: str) -> str | None:
    """Nothing but white space."""
    return None if output.strip() else "the output is empty"


def ends_with_colon(text: str) -> str | None:
    """An input or output that breaks off where something was to follow."""
    return "it ends with a colon" if text.rstrip().endswith(":") else None


def conflicting_outputs(task: Texts) -> str | None:
    """The same input, not empty, with different outputs in one task.

    >>> conflicting_outputs(Texts("Double it.", "2", "4", (("2", "5"),)))
    'two instances have the same input and different outputs: "2"'
    """
    outputs: dict[str, str | None] = {}
    for input, output in _instances(task):
        if input and outputs.setdefault(input, output) != output:
            return f'two instances have the same input and different outputs: "{input[:60]}"'
    return None


def repeated_instance(task: Texts) -> str | None:
    """An instance that is in the task already."""
    instances = _instances(task)
    return "two instances are the same" if len(set(instances)) < len(instances) else None


def too_many_instances(task: Texts, most: int) -> str | None:
    """More instances than a task may have."""
    count = len(_instances(task))
    return f"the task has {count} instances, more than {most}" if count > most else None


def _instances(task: Texts) -> list[tuple[str, str | None]]:
    return [(task.input, task.output), *task.more]


def _blocked(pattern: re.Pattern[str], instruction: str) -> str | None:
    found = pattern.search(instruction)
    return f'the instruction has the word "{found[0]}"' if found else None
