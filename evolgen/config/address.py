"""A base URL taken apart, once: where to ask, and the secrets that people put into it."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

OPENAI_URL = "https://api.openai.com/v1"
"""Where questions go if no endpoint is named."""

SHORTEST_KEY = 12
"""Characters of a key that is no word."""

SHORTEST_SECRET = 4
"""Characters below which a text is not hidden: it would make nonsense of every message."""

_HOST = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Address:
    """An endpoint: `url` is without user, password and query, and all of it that is ever shown.

    `query` and `headers` go along with each call, `secrets` are the texts in them that nobody may see.

    >>> address = Address.read("https://me:secret@api.example.com:8000/v1?api_key=5555")
    >>> str(address), address
    ('https://api.example.com:8000/v1', Address(url='https://api.example.com:8000/v1'))
    >>> address.query, address.headers
    ({'api_key': '5555'}, {'Authorization': 'Basic bWU6c2VjcmV0'})
    """

    url: str
    query: dict[str, str] = field(default_factory=dict, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.url

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own, which wants a key."""
        return urlsplit(self.url).hostname == urlsplit(OPENAI_URL).hostname

    @cached_property
    def is_loopback(self) -> bool:
        """Whether it is this machine, which no proxy stands before."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @classmethod
    def read(cls, url: Any) -> Address:
        """Take a base URL apart; raises ValueError, which tells no secret, if it is none.

        >>> Address.read("http://me:secret@localhost:99999/v1")
        Traceback (most recent call last):
        ValueError: localhost:99999/v1: Port out of range 0-65535
        """
        if isinstance(url, Address):
            return url
        if not isinstance(url, str):
            raise ValueError(f"a URL is a text, not {type(url).__name__}")
        try:
            if not url.startswith(("http://", "https://")):
                raise ValueError("it must begin with http:// or https://")
            parts = urlsplit(url)
            host = _host(parts)
            port = f":{parts.port}" if parts.port is not None else ""
        except ValueError as error:
            raise ValueError(f"{_without_secrets(url)}: {error}") from None
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
        headers = {"Authorization": f"Basic {basic}"} if basic else {}
        secrets = tuple(filter(None, (user, password, basic, *query.values())))
        return cls(f"{parts.scheme}://{host}{port}{parts.path}", query, headers, secrets)


OPENAI = Address(OPENAI_URL)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets that it holds.

    >>> hidden("the key sk-1234 is wrong", ("sk-1234", "is"))
    'the key *** is wrong'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def hidden_in(body: bytes, secrets: Iterable[str]) -> bytes:
    """A body without the secrets that it holds; shorter ones may be words of its own."""
    told = [secret for secret in secrets if len(secret) >= SHORTEST_KEY and secret.encode() in body]
    return hidden(body.decode("utf-8", "surrogateescape"), told).encode("utf-8", "surrogateescape") if told else body


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host:
        raise ValueError("it names no host")
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host)}]"
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is no name of a host")
    return host


def _without_secrets(url: str) -> str:
    """What can be shown of a text that is no URL."""
    return re.split(r"[?#]", url, maxsplit=1)[0].rpartition("@")[2]
