"""Evol-Instruct's elimination rules 2 to 4 (WizardLM, Xu et al. 2023, section 3.2), and what counts as equal.

Rule 1, equality with the parent, takes a judge and lies in the pipeline. A rule gives the reason to eliminate, or
None.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import get_args

from evolgen.config import EliminationRule
from evolgen.parsing import fold, words

SORRY_WORDS = 80
"""An answer with "sorry" in it is taken for an excuse only if it is shorter than this, in words."""

LEAKS = (
    "given prompt",
    "rewritten prompt",
    "new prompt",
    "created prompt",
    "given instruction",
    "rewritten instruction",
    "evolved instruction",
    "created instruction",
)
"""Words that an evolved instruction can only have from the evolving prompt: those of the paper, and our own."""

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are aren't as at be because been before being below
    between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few
    for from further had hadn't has hasn't have haven't having he her here hers herself him himself his how i if in
    into is isn't it it's its itself just let's me more most mustn't my myself no nor not now of off on once only or
    other ought our ours ourselves out over own same shan't she should shouldn't so some such than that that's the
    their theirs them themselves then there there's these they this those through to too under until up us very was
    wasn't we were weren't what when where which while who whom why will with won't would wouldn't you your yours
    yourself yourselves
    """.split()  # noqa: SIM905  # a list of a hundred quoted words can't be read
)

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def repeats_parent(instruction: str, parent: str) -> str | None:
    """Rule 1 where no judge is needed: the text is its parent's but for case, width and white space."""
    return "it repeats its parent word for word" if fold(instruction) == fold(parent) else None


def sorry(answer: str) -> str | None:
    """Rule 2: an answer that says "sorry" in fewer than 80 words; the question is beyond the teacher.

    >>> sorry("Sorry, I can't see images.")
    'the answer says "sorry" in 5 words, fewer than 80'
    """
    count = len(words(answer))
    if "sorry" in answer.lower() and count < SORRY_WORDS:
        return f'the answer says "sorry" in {count} words, fewer than {SORRY_WORDS}'
    return None


def stop_words(answer: str) -> str | None:
    """Rule 3: an answer of nothing but punctuation and stop words.

    A number, a symbol such as an emoji, or a word in any script is content.

    >>> stop_words("... and so, it is!")
    'the answer is only punctuation and stop words'
    >>> stop_words("42") is None
    True
    """
    word = None
    for word in _WORD.finditer(answer):
        if word[0].lower().replace("’", "'") not in STOP_WORDS:
            return None
    if word is None and _has_symbol(answer):
        return None
    return "the answer is only punctuation and stop words"


def prompt_leak(instruction: str) -> str | None:
    """Rule 4: an instruction that copies words of the evolving prompt.

    >>> prompt_leak("#Rewritten Prompt#: Name a river.")
    'it copies the evolving prompt: "rewritten prompt"'
    """
    text = fold(instruction)
    leak = next((words for words in LEAKS if words in text), None)
    return None if leak is None else f'it copies the evolving prompt: "{leak}"'


def _has_symbol(text: str) -> bool:
    """Whether an answer without words still says something: = + $ or an emoji, but not . , ! - alone."""
    return any(unicodedata.category(char)[0] == "S" for char in text)


ANSWER_RULES: dict[str, Callable[[str], str | None]] = {"sorry": sorry, "stop_words": stop_words}
"""The rules on an answer, in the order in which they are tried."""

RULES = frozenset(get_args(EliminationRule))
"""All four, by the names that rejections and `--no-rule` use."""
