"""A base URL taken apart: where to ask, and the secrets that people put into it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

SHORTEST_SECRET = 4
"""Characters below which a text is not hidden: it would make nonsense of every message."""


@dataclass(frozen=True)
class Address:
    """`url` without user, password and query; the query as pairs, and the header that user and password make.

    >>> address = Address.read("https://me:secret@api.example.com/v1?api_key=5555")
    >>> address.url, address.query, address.headers
    ('https://api.example.com/v1', {'api_key': '5555'}, {'Authorization': 'Basic bWU6c2VjcmV0'})
    """

    url: str | None
    query: dict[str, str]
    headers: dict[str, str]
    secrets: tuple[str, ...]

    @classmethod
    def read(cls, url: str | None) -> Address:
        """Take a base URL apart; raises ValueError if it is none."""
        if url is None:
            return cls(None, {}, {}, ())
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        bare = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
        headers = {"Authorization": f"Basic {basic}"} if basic else {}
        return cls(bare, query, headers, (user, password, basic, *query.values()))


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """A text without the secrets that it holds.

    >>> hidden("the key sk-1234 is wrong", ("sk-1234", "is"))
    'the key *** is wrong'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text
