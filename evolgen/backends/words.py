"""What an endpoint says, out of whatever it says it in: an error of OpenAI's, a list, a text, a web page."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

LONGEST = 200
"""Characters of an endpoint's words that are told."""

READ = 5_000
"""Characters of them that are looked at."""

KEYS = (
    "message",
    "error",
    "msg",
    "detail",
    "details",
    "errors",
    "error_message",
    "description",
    "title",
    "code",
    "type",
)
"""Where the words stand, the likeliest first."""

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def told_of(said: object, hide: Callable[[str], str] = str) -> str:
    """The words in a body, a few; `hide` takes secrets out before they are cut."""
    return hide(words_of(said))[:LONGEST]


def words_of(said: object, depth: int = 0) -> str:
    """The words in a body; empty where there are none.

    >>> words_of({"error": {"message": "no such model", "code": 7}}), words_of([{"error": "busy"}])
    ('no such model', 'busy')
    >>> words_of({"detail": [{"loc": ["body", "top_p"], "msg": "extra fields not permitted"}]})
    'body.top_p: extra fields not permitted'
    >>> words_of("<html><head><title>502 Bad Gateway</title></head></html>"), words_of(None)
    ('502 Bad Gateway', '')
    """
    if isinstance(said, str):
        return _plain(said)[:READ]
    if isinstance(said, dict) and depth < 8:
        found = next((words for key in KEYS if (words := words_of(said.get(key), depth + 1))), "")
        place = said.get("loc")
        return f"{'.'.join(map(str, place))}: {found}" if isinstance(place, list) and found else found
    if isinstance(said, list) and depth < 8:
        return "; ".join(filter(None, (words_of(each, depth + 1) for each in said[:3])))[:READ]
    return str(said) if isinstance(said, int | float) and not isinstance(said, bool) else ""


def _plain(text: str) -> str:
    """A text in one line, of a web page its title."""
    start = text[:65536]
    if re.match(r"\s*<(?:!doctype|html|head|body|\?xml)", start, re.IGNORECASE):
        title = _TITLE.search(start)
        start = html.unescape(title[1] if title else _TAG.sub(" ", start))
    return " ".join(start.split())
