"""A teacher's text -> values. Pure: nothing here asks, stores or decides what to do with a bad answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

Verdict = Literal["equal", "not_equal"]

SHORT = 60
"""Characters up to which a text may say one thing only."""

_THINKING = re.compile(
    r"\A\s*(?:<(think(?:ing)?|thought|reasoning)>.*?(?:</\1>|\Z)|\[THINK\].*?(?:\[/THINK\]|\Z))\s*", re.DOTALL
)
_BEGUN_BEFORE = (
    re.compile(  # some templates begin inside the thinking: then the tag ends a line, or text comes after it
        r"\A(?:(?!<think(?:ing)?>).)*?(?:(?<=\n)|(?<![`'\"\s]))[ \t]*</think(?:ing)?>"
        r"(?:[ \t]*(?:\n|\Z)|(?=[^\s`'\"),.:;!?]))\s*",
        re.DOTALL,
    )
)
_FINAL_CHANNEL = re.compile(
    r"\A\s*(?:<\|start\|>\w+)?<\|channel\|>(?:.*<\|channel\|>)?final[^<]*<\|message\|>", re.DOTALL
)
_OTHER_CHANNEL = re.compile(r"\A\s*(?:<\|start\|>\w+)?<\|channel\|>.*\Z", re.DOTALL)
_CLOSING = re.compile(
    r"(?:<\|(?:im_end|im_start|eot_id|eom_id|end|end_of_text|endoftext|return|end_of_turn|user|assistant|EOT)\|>|"
    r"<end_of_turn>|<eos>|<EOS_TOKEN>|</s>)\s*\Z"
)
_INSTRUCTION_TAG = re.compile(r"\A\s*#{0,6}\s*(?:\*\*)?Instruction(?:\*\*)?\s*:(?:\*\*)?[ \t]*\n?", re.IGNORECASE)
_INPUT_TAG = re.compile(r"^[ \t]*#{1,6}[ \t]*Input[ \t]*:[ \t]*\n?", re.IGNORECASE | re.MULTILINE)
_BRACKETS = " \t\n<>[](){}\"'`*_.!:"
_NO_INPUT = re.compile(
    r"n\.?/?\s?a\.?|none|null|nil|nan|not applicable|"
    r"(?:there is |this (?:task|instruction) (?:has|needs|requires) )?"
    r"no[ _-]*(?:(?:specific|additional|further|extra|other) )?inputs?"
    r"(?: (?:is |was )?(?:required|needed|provided|necessary|given|available|applicable))?|"
    r"inputs?(?: is)? not (?:required|needed|provided|necessary|applicable)|"
    r"(?:not|no|none) (?:required|needed|necessary|provided)|inputs? ?: ?(?:none|n/a|no ?input)"
)
_YES_OR_NO = re.compile(r"\A\W*(yes|no)(?!\w)", re.IGNORECASE)
_VERDICT = re.compile(r"\A\W*(not[\W_]+equal|equal)(?!\w)", re.IGNORECASE)


def visible(text: str) -> str:
    """A teacher's text without the thinking that some models put before it, and the tokens that some put after it.

    >>> visible("<think>hm</think>\\nParis"), visible("[THINK]hm[/THINK]Paris</s>")
    ('Paris', 'Paris')
    >>> visible("hm, the capital</think>Paris"), visible("<think>cut in the middle")
    ('Paris', '')
    >>> visible("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>")
    'Paris'
    >>> visible("Thoughts stand before `</think>`: remove them.")
    'Thoughts stand before `</think>`: remove them.'
    """
    said = text.strip()
    if said.startswith("<|"):
        said, channels = _FINAL_CHANNEL.subn("", said)
        if not channels:
            said = _OTHER_CHANNEL.sub("", said)
    said, thoughts = _THINKING.subn("", said)
    begun = _BEGUN_BEFORE.match(said) if not thoughts and "</think" in said else None
    if begun and not begun[0].count("```") % 2:  # in a listing it is quoted
        said = said[begun.end() :]
    while said.endswith(">") and (closing := _CLOSING.search(said)):
        if closing[0].startswith("</s>") and "<s>" in said:
            break
        said = said[: closing.start()].rstrip()
    return said.strip()


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


def tagged(instruction: str, input: str, before: Iterable[tuple[str, str]] = ()) -> str:
    """The inverse of `instruction_and_input`: one text for a prompt, after what was said `before` (role, text).

    >>> tagged("Sort these.", "3 1 2")
    'Sort these.\\n\\n### Input:\\n3 1 2'
    """
    task = f"{instruction}\n\n### Input:\n{input}" if input else instruction
    said = "\n".join(f"{role}: {text}" for role, text in before)
    return f"### Said before (it stays as it is):\n{said}\n\n### Instruction:\n{task}" if said else task


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


def says_only(spellings: re.Pattern[str], text: str) -> str | None:
    """The whole of a short text, folded and without brackets, if it is one of these spellings."""
    said = fold(text[: SHORT + 1]).strip(_BRACKETS)
    return said if len(text) <= SHORT and spellings.fullmatch(said) else None


def says_no_input(text: str) -> bool:
    """Whether a text says nothing but that there is no input.

    >>> says_no_input("<noinput>"), says_no_input("No input required."), says_no_input("none of these: 3, 4")
    (True, True, False)
    """
    return says_only(_NO_INPUT, text) is not None


def yes_or_no(text: str) -> bool | None:
    """What a text answers to a yes-or-no question with its first word, or None.

    >>> yes_or_no("**Yes**, it is"), yes_or_no("no."), yes_or_no("Not sure")
    (True, False, None)
    """
    found = _YES_OR_NO.match(text)
    return None if found is None else found[1].lower() == "yes"
