"""Rules on any text of a row: what is broken in its characters or its markup."""

from __future__ import annotations

import itertools
import re
import string
from collections import Counter

from evolgen.records import unprintable

QUOTE = 60
"""Characters that a reason quotes."""

LONGEST_RUN = 40
"""The same character so many times in a row is no text, unless it draws a line."""

LEAST_TEXT = 40
"""Characters from which the share of letters and digits says something."""

LEAST_READABLE = 0.25

VOWELLESS = 12
"""Consonants in a row that no word of any language in Latin letters has."""

PAIRED_TAGS = (
    "div", "span", "a", "b", "i", "em", "strong", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "script",
    "style", "pre", "code",
)  # fmt: skip

_DIVIDERS = frozenset("-=_*#~.+|─━═ \n\t")
_LETTERS_AND_DIGITS = (string.ascii_letters + string.digits).encode()
_SPACE = string.whitespace.encode()
_IS_CONSONANT = bytes(ord("c") if chr(code) in "bcdfghjklmnpqrstvwxz" else ord(" ") for code in range(256))
_LINE = re.compile(r"[-=_*#~.+|]{4,}")
_NOT_TEXT = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_TAG = re.compile(rf"<(/?)({'|'.join(PAIRED_TAGS)})(?:\s[^<>]*)?>", re.IGNORECASE)
_ABOUT_TAGS = re.compile(r"\b(?:tags?|elements?)\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:nbsp|amp|lt|gt|quot|apos|#\d{2,5}|#x[0-9a-fA-F]{2,5});")
_FOREIGN = re.compile(r"[\x80-\uffff]{2,}")


def control_characters(text: str) -> str | None:
    r"""Control characters, lone surrogates, and the sign that stands for what could not be decoded.

    >>> control_characters("a\x08b"), control_characters("a\ufffdb")
    ('it has a control character U+0008 at character 2', 'it has a replacement character U+FFFD at character 2')
    """
    bad = unprintable(text)
    if bad is None and "\ufffd" in text:
        bad = f"replacement character U+FFFD at character {text.index(chr(0xFFFD)) + 1}"
    return None if bad is None else f"it has a {bad}"


def mojibake(text: str) -> str | None:
    """UTF-8 that was read as Windows-1252 or Latin-1: characters that turn into others when written and read rightly.

    >>> mojibake("The RhÃ´ne, itâ€™s long."), mojibake("São João é à côté")
    ('"Ã´" stands where "ô" should be', None)
    """
    if text.isascii():
        return None
    for run in _FOREIGN.findall(text):
        for encoding in ("cp1252", "latin-1"):
            try:
                right = run.encode(encoding).decode()
            except UnicodeError:
                continue
            if not any(ord(char) < 0xA0 for char in right):
                return f'"{run[:20]}" stands where "{right[:20]}" should be'
    return None


def character_soup(text: str) -> str | None:
    """Hardly a letter in it, one character over and over, or letters that no word has.

    >>> character_soup("a" * 50), character_soup("Press xcvbnmdfghjklq now.")
    ('the character "a" comes 50 times in a row', '"xcvbnmdfghjklq" is no word')
    >>> character_soup("| a | b |\\n|---|---|\\n" + "-" * 80 + "\\nEnd.")
    """
    if len(text) < LEAST_TEXT:
        return _no_word(text)
    return _long_run(text) or (None if "```" in text else _unreadable(text) or _no_word(text))


def _long_run(text: str) -> str | None:
    samples = text[:: LONGEST_RUN // 2]  # of a long run two are neighbours
    for char in {here for here, there in itertools.pairwise(samples) if here == there}:
        if char * LONGEST_RUN in text and (char not in _DIVIDERS or not text.strip().strip(char)):
            count = max(len(run) for run in re.findall(f"{re.escape(char)}+", text))
            if count > LONGEST_RUN and not char.isspace():
                return f'the character "{char}" comes {count} times in a row'
    return None


def _unreadable(text: str) -> str | None:
    """Mostly signs; in other scripts marks and emoji are text, so only ASCII is judged."""
    if not text.isascii() or len(text.encode().translate(None, _LETTERS_AND_DIGITS + _SPACE)) < LEAST_TEXT // 2:
        return None
    solid = _LINE.sub("", text).encode().translate(None, _SPACE)
    readable = len(solid) - len(solid.translate(None, _LETTERS_AND_DIGITS))
    if len(solid) < LEAST_TEXT or readable >= LEAST_READABLE * len(solid) or b"|" in solid:
        return None
    return f"only {readable} of {len(solid)} characters are letters or digits"


def _no_word(text: str) -> str | None:
    start = text.encode("ascii", "replace").translate(_IS_CONSONANT).find(b"c" * VOWELLESS)
    if start < 0 or "://" in text:
        return None
    end = start + VOWELLESS
    while start and text[start - 1].isalpha():
        start -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    word = text[start:end]
    return f"{quoted(word)} is no word" if len(set(word.lower())) > VOWELLESS // 2 else None  # "Shhhh" is one


def prose(text: str) -> str:
    """The text without its code, be it fenced or between back ticks."""
    return _NOT_TEXT.sub(" ", text) if "`" in text else text


def quoted(text: str) -> str:
    """A text as a reason quotes it: one line, at most 60 characters.

    >>> quoted("a  b")
    '"a b"'
    """
    return f'"{" ".join(text[: 4 * QUOTE].split())[:QUOTE]}"'


def unclosed_code_fence(text: str) -> str | None:
    """An odd number of lines that begin with a code fence.

    >>> unclosed_code_fence("```python\\nprint(1)")
    'a code fence is opened and not closed'
    """
    if "```" not in text and "~~~" not in text:
        return None
    return "a code fence is opened and not closed" if len(_FENCE_LINE.findall(text)) % 2 else None


def broken_markup(text: str) -> str | None:
    """HTML tags that don't come in pairs, or entities left over in a text without tags; code is left alone.

    >>> broken_markup("<div><b>Danube</div>"), broken_markup("Danube &amp; Rhine"), broken_markup("a < b")
    ('the tag <b> is opened 1 times and closed 0 times', 'it has the left-over entity &amp;', None)
    """
    if "<" not in text and "&" not in text:
        return None
    outside = prose(text)
    if _ABOUT_TAGS.search(outside):
        return None
    balance: Counter[str] = Counter()
    opened: Counter[str] = Counter()
    for closing, name in _TAG.findall(outside):
        balance[name.lower()] += -1 if closing else 1
        opened[name.lower()] += not closing
    for name, difference in balance.items():
        if difference:
            return f"the tag <{name}> is opened {opened[name]} times and closed {opened[name] - difference} times"
    if not balance and "<" not in outside and (entity := _ENTITY.search(outside)):
        return f"it has the left-over entity {entity[0]}"
    return None
