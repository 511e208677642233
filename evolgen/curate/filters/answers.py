"""Rules on answers: empty, evasive, cut or repetitive ones. A rule gives the reason to reject, or None."""

from __future__ import annotations

import re

from evolgen.curate.filters.texts import quoted
from evolgen.curate.tokens import unicode_tokens
from evolgen.parsing import fold, says_only
from evolgen.records import Texts

LONG_PROSE = 30
"""Words from which a text without an end is taken for one that was cut."""

SIGNATURE = 8
"""Words after the last sentence that may sign or close a text."""

REPEATED = 4
"""Words in the n-grams that are counted, and the least words of a text are ten times as many."""

_NO_CONTENT = re.compile(r"[\s._。\-–—…·*~`'\"“”‘’()\u200b-\u200d\ufeff]*")
_NOTHING = re.compile(
    r"n\.?/?\s?a\.?|none|null|nil|nan|nothing|blank|empty|undefined|tbd|todo|"
    r"(?:not|non)[ -]?(?:applicable|available|required|needed|provided)|"
    r"(?:there is )?no[ _-]?(?:output|response|answer|result)"
    r"(?: (?:is )?(?:required|needed|provided|given|available|necessary))?|"
    r"(?:output|response|answer)(?: is)? not (?:required|needed|provided|available|applicable)"
)

_CANT = r"(?:can['’]?t|cannot|can not|won['’]?t|will not)"
_HELP = (
    r"(?:assist|help(?! (?:but|\w+ing))|comply|fulfill?|provide|complete|answer|generate|create|do (?:that|this|it)|"
    r"discuss|engage|support|process|perform|see|view|access|open|browse|draw|give|write|produce|share|offer|disclose|"
    r"predict|determine|translate|display|play)"
)
_REFUSAL = re.compile(
    # "I'm sorry, but I can't ...", "Unfortunately, I am not able to ..."
    r"\s*(?:(?:i['’]?m|i am|we['’]?re|we are)\s+(?:really |very |so |terribly )?(?:sorry|afraid)|sorry|apologies|"
    r"my apologies|i apologi[sz]e|unfortunately)\b[^.!?\n]{0,40}?\b(?:i|we)\b[^.!?\n]{0,30}?"
    rf"\b(?:{_CANT} (?:be able to )?{_HELP}|(?:am|are|['’]?m) (?:not able|unable)|"
    r"(?:don['’]?t|do not) have (?:access|the ability))\b"
    # "I'm sorry, but as an AI language model I can't ...", "As an AI language model, I cannot ..."
    r"|\s*(?:i['’]?m sorry|i am sorry|sorry|i apologi[sz]e)\b[^.!?\n]{0,20}\bas an (?:ai|artificial|language)\b"
    rf"[^.!?\n]{{0,60}}?\b{_CANT}\b"
    r"|\s*(?:(?:i['’]?m|i am)(?: just| only)? |as )an? (?:ai|artificial intelligence|(?:large )?language model|"
    r"virtual assistant)\b[^.!?\n]{0,80}?"
    rf"\b(?:{_CANT}|unable|not able|not capable|don['’]?t|do not|not programmed)\b"
    # "I cannot assist with ..."
    rf"|\s*i (?:{_CANT}|am unable to|am not able to)(?: be able to)? "
    rf"{_HELP}\b"
    # the same in other languages
    r"|\s*(?:lo siento,? pero no (?:puedo|me es posible)|je suis désolée?,? mais je ne (?:peux|suis)|"
    r"es tut mir leid,? aber ich (?:kann|darf)|(?:抱歉|对不起|很抱歉)[，,]?\s*(?:但是?)?我?(?:无法|不能)|"
    r"申し訳(?:ありません|ございません)が|죄송(?:하지만|합니다만)|извините,? но я не могу|к сожалению,? я не могу)",
    re.IGNORECASE,
)

_DANGLING = re.compile(
    r"(?:[,(\[{–—]|\b(?:a|an|the|and|or|but|nor|of|to|with|from|into|onto|because|which|whose|than|their|its|"
    r"your|our|my|is|are|was|were|be|has|have|such as|as well as))\s*\Z",
    re.IGNORECASE,
)
_ENDED = re.compile(r"""[.!?:;…。！？।॥؟۔።”"'’)\]}>*_`|~=#/\\-]\s*\Z""")
_LIST_OR_CODE = re.compile(r"^\s*(?:[-*•+>|#]|\d+[.)]|```|\t| {4})|[{};<>=]|https?://", re.MULTILINE)
_SENTENCE_ENDS = re.compile(r"[.!?][\"'”)]*\s")

_FENCE = re.compile(r"^[ \t]*```([^\n`]*)\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_OPENINGS = ("# your code", "// your code", "# todo", "// todo")
_HEADER = re.compile(r"\s*(?:(?:async |public |private |static )*(?:def|class|function|void|int)\b.*[:{]|[}\])];?)\s*")
_TO_DO = re.compile(r"code|todo", re.IGNORECASE)
_COMMENT_LINE = re.compile(r"\s*(?:#(?!include|define|!)|//|--|/\*|\*|<!--|%|;|\"\"\"|''')")
_PLACEHOLDER = re.compile(
    r"\s*(?:(?:#|//|/\*|--|<!--)\s*)?(?:pass|\.\.\.|…|(?:put |write |add |insert )?(?:your )?code(?: goes)?(?: here)?|"
    r"todo:?.*)\s*(?:\*/|-->)?\s*",
    re.IGNORECASE,
)


def empty_output(output: str) -> str | None:
    """Nothing but white space, dots, dashes and quotes; a number, a symbol or a question mark is an answer.

    >>> empty_output("..."), empty_output("42"), empty_output("?")
    ('the output is only punctuation and white space', None, None)
    """
    if not _NO_CONTENT.fullmatch(output):
        return None
    return "the output is only punctuation and white space" if output.strip() else "the output is empty"


def na_output(row: Texts) -> str | None:
    """The whole answer is a spelling of "nothing", and the task does not ask for that word.

    >>> na_output(Texts("Name a river.", "", "<No Output>")), na_output(Texts("Write N/A if unknown.", "", "N/A"))
    ('the output only says "<No Output>"', None)
    """
    output = row.output or ""
    said = says_only(_NOTHING, output)
    if said is None or said in fold(f"{row.instruction} {row.input}"):
        return None
    return f"the output only says {quoted(output)}"


def refusal(output: str) -> str | None:
    """It begins as a model does that will not answer.

    >>> refusal("As an AI language model, I cannot see."), refusal("I'm sorry to hear that you can't come.")
    ('the output refuses: "As an AI language model, I cannot"', None)
    """
    found = _REFUSAL.match(output[:400])
    return f"the output refuses: {quoted(found[0])}" if found else None


def truncated_output(output: str) -> str | None:
    """It breaks off in a sentence: at a comma, an article or a conjunction, or long prose without an end.

    Lists, code, tables and verse end as they like.

    >>> truncated_output("They are the Volga, the Danube and the")
    'the output breaks off: "the Volga, the Danube and the"'
    >>> truncated_output("The Danube")
    """
    text = output.rstrip()
    if not text or (_ENDED.search(text[-3:]) and not text.endswith(("(", "[", "{"))):
        return None
    tail = text[-30:]
    lines = text.count("\n") + 1
    words = len(text.split())
    if words < 4 or _LIST_OR_CODE.search(text[-400:]):
        return None
    if _DANGLING.search(tail) and words / lines >= 4:
        return f"the output breaks off: {quoted(tail)}"
    unfinished = _SENTENCE_ENDS.split(text)[-1]
    in_prose = words >= LONG_PROSE and unfinished != text and words / lines > 10
    last_line = unfinished.rpartition("\n")[2]  # a signature or a hashtag is short
    if in_prose and text[-1].isascii() and not text[-1].isdigit() and len(last_line.split()) > SIGNATURE:
        return f"the output breaks off: {quoted(tail)}"
    return None


def empty_code(output: str) -> str | None:
    """A code fence without a statement in it, or an answer that is only a comment.

    >>> empty_code("```python\\n# your code here\\n```"), empty_code("```\\nprint(1)\\n```")
    ('a code block has no code in it', None)
    """
    if "```" in output:
        blocks = _FENCE.findall(output)
        return "a code block has no code in it" if any(_no_statement(*block) for block in blocks) else None
    if output.lstrip()[:14].lower().startswith(_OPENINGS) and _no_statement("code", output):
        return "the output is only a comment"
    return None


def repeated_ngrams(output: str, share: float) -> str | None:
    """More than this share of the 4-grams of a text of 40 words or more are repetitions."""
    words = output.lower().split()
    count = len(words) - REPEATED + 1
    if len(words) < 10 * REPEATED:
        return None
    repeated = 1 - len(set(zip(*(words[start:] for start in range(REPEATED)), strict=False))) / count
    return f"{repeated:.0%} of its 4-grams are repetitions, more than {share:.0%}" if repeated > share else None


def min_words(text: str, least: int) -> str | None:
    """Fewer words than that; in scripts without spaces characters count."""
    count = len(unicode_tokens(text[: 100 * least + 100]))
    return f"it has {count} words, fewer than {least}" if count < least else None


def max_words(text: str, most: int) -> str | None:
    """More words than that; in scripts without spaces characters count."""
    if len(text) <= most:
        return None
    count = len(unicode_tokens(text))
    return f"it has {count} words, more than {most}" if count > most else None


def _no_statement(language: str, code: str) -> bool:
    """Whether a block is empty, or nothing but comments and headers around a place where code was to go."""
    lines = [line for line in code.split("\n") if line.strip()]
    if language.strip().lower() in ("markdown", "md", "text", "txt"):
        return not lines
    places = [line for line in lines if _PLACEHOLDER.fullmatch(line)]
    comments = [line for line in lines if line not in places and _COMMENT_LINE.match(line)]
    if language.strip() and len(places) + len(comments) == len(lines):
        return True
    empty = [line for line in lines if line not in places and _HEADER.fullmatch(line)]
    return len(places) + len(empty) == len(lines) and (not lines or any(_TO_DO.search(line) for line in places))
