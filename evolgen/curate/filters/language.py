"""The language of a text, told by py3langid (the `language` extra)."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Sequence
from typing import Any

from evolgen.curate.filters.texts import prose
from evolgen.errors import UsageError

LEAST_LETTERS = 20
"""Letters from which the language of a text can be told; a Han or kana character counts as three."""

NONE = "zxx"
"""What is no language: formulas, chess moves."""

UNLIKELY = 0.05
"""A language is ruled out below this share of the likeliest one's probability."""

_LINK = re.compile(r"https?://\S+")


def other_language(text: str, keep: Sequence[str]) -> str | None:
    """It is in a language that is not to be kept; a text too short to tell is kept, and code says nothing."""
    words = _LINK.sub(" ", prose(text))
    letters = sum(3 if char >= "\u3000" else 1 for char in words if char.isalpha())
    if letters < LEAST_LETTERS:
        return None
    ranked = dict(_identifier().rank(words))
    likeliest = max(ranked, key=ranked.__getitem__)
    if likeliest == NONE or max(ranked[code] for code in keep) > UNLIKELY * ranked[likeliest]:
        return None
    return f"it is not in {' or '.join(keep)}, but likely in another language ({likeliest})"


def check_codes(codes: tuple[str, ...]) -> tuple[str, ...]:
    """The codes, if there are such languages; raises ValueError."""
    known = [str(code) for code in _identifier().nb_classes]
    if not codes:
        raise ValueError("name the languages to keep, as in en,de")
    for code in codes:
        if code not in known:
            near = difflib.get_close_matches(code[:2], known, n=3, cutoff=0.4) or known
            raise ValueError(f"{code} is no language code that is known (ISO 639-1); near are {', '.join(near[:5])}")
    return codes


@functools.cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise UsageError("telling languages apart needs the language extra: pip install 'evolgen[language]'") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
