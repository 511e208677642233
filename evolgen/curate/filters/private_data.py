"""Personal data and secrets: where they are in a text, and the same text without them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

Span = tuple[int, int]

NAMES = {"email": "e-mail address", "phone": "phone number", "card_number": "card number", "secret": "secret"}

RESERVED = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|example|test|invalid|localhost|domain\.com|email\.com)\Z")
ENTROPY = 3.0
"""Bits a character from which the value of a password or key is taken for a real one."""

_EMAIL = re.compile(r"(?<![\w.%+-])[A-Za-z0-9][\w.%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24})\b(?!@)")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?(?:\d{1,5}[ .-]?){1,5}\d{2,5}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[ .-]\d{4}"
    r"|0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4})(?![\w-]|\.\d)"
)
_CARD = re.compile(r"(?<![\w.-])[3-6]\d{3}(?:[ -]?\d){9,15}(?![\w-]|\.\d)")
_TOKEN = re.compile(
    r"\b(?:sk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|"
    r"github_pat_[A-Za-z0-9_]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,}|"
    r"[rs]k_live_[A-Za-z0-9]{16,}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]{40,20000}(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?"
)
_ASSIGNMENT = re.compile(
    r"\b(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|token|passw(?:or)?d|pwd)[\"']?\s{0,3}[:=]\s{0,3}"
    r"[\"']([^\s\"'<>{}$]{16,200})[\"']",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|your|example|changeme|placeholder|dummy|sample|<|1234567890|abcdef", re.IGNORECASE
)


def find_emails(text: str) -> list[Span]:
    """Addresses, but for those of reserved domains."""
    if "@" not in text:
        return []
    return [found.span() for found in _EMAIL.finditer(text) if not RESERVED.search(found[1].lower())]


def find_phones(text: str) -> list[Span]:
    """International numbers and the common national forms with separators, but for fictional ones (555-01xx)."""
    spans = []
    for found in _PHONE.finditer(text) if any(map(str.isdigit, text)) else ():
        digits = re.sub(r"\D", "", found[0])
        fictional = re.search(r"55501\d\d\Z", digits)
        if 9 <= len(digits) <= 15 and len(set(digits)) > 2 and not fictional and not _luhn_card(found[0]):
            spans.append(found.span())
    return spans


def find_card_numbers(text: str) -> list[Span]:
    """Payment cards: 13 to 19 digits whose check digit is right (ISO/IEC 7812)."""
    return [found.span() for found in _CARD.finditer(text) if _luhn_card(found[0])]


def find_secrets(text: str) -> list[Span]:
    """Keys and tokens in the forms that services give them, private keys, and passwords that are written out."""
    spans = [found.span() for pattern in (_TOKEN, _PRIVATE_KEY) for found in _matches(pattern, text)]
    for found in _ASSIGNMENT.finditer(text):
        value = found[1]
        if not _PLACEHOLDER.search(value) and any(map(str.isdigit, value)) and _entropy(value) >= ENTROPY:
            spans.append(found.span(1))
    return sorted(spans)


FINDERS: dict[str, Callable[[str], list[Span]]] = {
    "email": find_emails,
    "phone": find_phones,
    "card_number": find_card_numbers,
    "secret": find_secrets,
}


def describe(name: str, text: str) -> str | None:
    """How many findings of a kind there are and where the first is, without quoting it.

    >>> describe("email", "Write to jane@mail.com.")
    'it has an e-mail address at character 10'
    """
    spans = FINDERS[name](text)
    if not spans:
        return None
    what, place = NAMES[name], spans[0][0] + 1
    if len(spans) > 1:
        return f"it has {len(spans)} {what}{'es' if what.endswith('s') else 's'}, the first at character {place}"
    return f"it has {'an' if what[0] in 'aeiou' else 'a'} {what} at character {place}"


def mask(text: str, names: Iterable[str]) -> str:
    """The text with the findings of some kinds replaced by what they are.

    >>> mask("Write to jane@mail.com.", ["email"])
    'Write to [EMAIL].'
    """
    found = sorted((start, -end, name) for name in names for start, end in FINDERS[name](text))
    pieces, place = [], 0
    for start, negative_end, name in found:
        if start >= place:  # of findings that overlap the first and longest counts
            pieces += [text[place:start], f"[{name.upper().replace('_', ' ')}]"]
            place = -negative_end
    return "".join([*pieces, text[place:]])


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    return (found for found in pattern.finditer(text) if not _PLACEHOLDER.search(found[0]))


def _luhn_card(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 3:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _entropy(value: str) -> float:
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
