"""What the environment says of endpoints, and what of them may be shown."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from evolgen.errors import UsageError

OPENAI_URL = "https://api.openai.com/v1"
"""Where questions go if no endpoint is named."""


def default_model() -> str | None:
    """The model that the environment names, if it does."""
    return os.environ.get("EVOLGEN_MODEL") or None


def default_base_url() -> str | None:
    """The endpoint that the environment names, if it does; None is OpenAI's own."""
    return os.environ.get("OPENAI_BASE_URL") or None


def api_key(variable: str, base_url: str | None) -> str:
    """The key that an environment variable holds.

    Many local endpoints want none, so it is only required for OpenAI's own; raises UsageError there.
    """
    key = os.environ.get(variable, "").strip()
    if not key and base_url is None:
        raise UsageError(
            f"the environment variable {variable} holds no API key; set it, name another with --api-key-env, "
            "or name an endpoint with --base-url"
        )
    return key or "none"


def public_url(url: str) -> str:
    """A URL fit to be shown: without user, password and query.

    >>> public_url("https://me:secret@api.example.com:8000/v1?key=secret")
    'https://api.example.com:8000/v1'
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
