"""Words that a dataset should not have. A list says nothing of what is meant: it is off unless asked for."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from evolgen.errors import UsageError

WORDS = (
    "arsehole", "asshole", "assholes", "bastard", "bastards", "bitch", "bitches", "bullshit", "cocksucker", "cunt",
    "cunts", "dickhead", "dickheads", "dumbass", "fuck", "fucked", "fucker", "fuckers", "fucking", "fucks", "jackass",
    "motherfucker", "motherfucking", "piss off", "prick", "pricks", "scumbag", "shit", "shithead", "shitty", "slut",
    "sluts", "son of a bitch", "twat", "wanker", "wankers", "whore", "whores", "go to hell", "kill yourself",
    "i will kill you", "drop dead",
)  # fmt: skip
"""Profanities, insults and threats of everyday English; for more bring a list."""


def toxic_words(text: str, words: Path | None = None) -> str | None:
    """Whole words of a list, in any case: the built-in one, or those of a file, one a line.

    >>> toxic_words("Drop DEAD, you said."), toxic_words("the town of Scunthorpe")
    ('it has 1 word of the list, the first is "Drop DEAD"', None)
    """
    found = _pattern(words).findall(text)
    return f'it has {len(found)} word{"s" * (len(found) > 1)} of the list, the first is "{found[0]}"' if found else None


def check_list(path: Path) -> Path:
    """The path, if a list of words can be read there; raises UsageError."""
    _read(path)
    return path


@functools.cache
def _pattern(path: Path | None) -> re.Pattern[str]:
    words = WORDS if path is None else _read(path)
    phrases = sorted(
        (re.escape(" ".join(word.split())).replace(r"\ ", r"\s+") for word in words), key=len, reverse=True
    )
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)


def _read(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: the list of words can't be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    words = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not words:
        raise UsageError(f"{path}: the list of words is empty")
    return words
