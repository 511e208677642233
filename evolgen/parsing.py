"""A teacher's text -> values. Pure: nothing here asks, stores or decides what to do with a bad answer."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Verdict = Literal["equal", "not_equal"]

_THINKING = re.compile(r"\A.*?</think(?:ing)?>\s*", re.DOTALL)  # some templates begin inside the thinking
_UNFINISHED_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*\Z", re.DOTALL)
_INSTRUCTION_TAG = re.compile(r"\A\s*#{0,6}\s*(?:\*\*)?Instruction(?:\*\*)?\s*:(?:\*\*)?[ \t]*\n?", re.IGNORECASE)
_INPUT_TAG = re.compile(r"^[ \t]*#{1,6}[ \t]*Input[ \t]*:[ \t]*\n?", re.IGNORECASE | re.MULTILINE)
_VERDICT = re.compile(r"\A\W*(not[\W_]+equal|equal)(?!\w)", re.IGNORECASE)


def visible(text: str) -> str:
    """A teacher's text without the thinking that some models put before it.

    >>> visible("<think>hm</think>\\nParis")
    'Paris'
    >>> visible("hm, the capital</think>Paris"), visible("<think>cut in the middle")
    ('Paris', '')
    """
    return _UNFINISHED_THINKING.sub("", _THINKING.sub("", text)).strip()


def instruction_and_input(text: str) -> tuple[str, str]:
    """Split an evolved instruction from the input that may follow it; a text without tags is all instruction.

    >>> instruction_and_input("### Instruction:\\nSort these.\\n### Input:\\n3 1 2")
    ('Sort these.', '3 1 2')
    >>> instruction_and_input("Name a river.")
    ('Name a river.', '')
    """
    body = _INSTRUCTION_TAG.sub("", text, count=1)
    instruction, *rest = _INPUT_TAG.split(body, maxsplit=1)
    return instruction.strip(), rest[0].strip() if rest else ""


def tagged(instruction: str, input: str) -> str:
    """The inverse of `instruction_and_input`: one text for a prompt.

    >>> tagged("Sort these.", "3 1 2")
    'Sort these.\\n\\n### Input:\\n3 1 2'
    """
    return f"{instruction}\n\n### Input:\n{input}" if input else instruction


def verdict(text: str) -> Verdict | None:
    """A judge's first words, or None if they are neither "Equal" nor "Not Equal".

    >>> verdict("Not Equal. The second asks for more."), verdict("**Equal**"), verdict("They are equal")
    ('not_equal', 'equal', None)
    """
    found = _VERDICT.match(text)
    if found is None:
        return None
    return "equal" if found[1].lower() == "equal" else "not_equal"


def fold(text: str) -> str:
    """What two texts are compared by: NFKC, case folded, every run of white space one space.

    >>> fold("  Ｎａｍｅ a\\n River ")
    'name a river'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Words as a reader counts them: runs between white space."""
    return text.split()
