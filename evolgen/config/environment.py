"""What the environment says of endpoints and models."""

from __future__ import annotations

import os

from evolgen.config.address import OPENAI, Address
from evolgen.errors import UsageError


def default_model() -> str | None:
    """The model that the environment names, if it does."""
    return os.environ.get("EVOLGEN_MODEL") or None


def default_address() -> Address:
    """The endpoint that the environment names, else OpenAI's own; raises UsageError if it names no URL."""
    try:
        return Address.read(os.environ.get("OPENAI_BASE_URL") or OPENAI)
    except ValueError as error:
        raise UsageError(f"the environment variable OPENAI_BASE_URL: {error}") from None


def address_of(base_url: str) -> Address:
    """The address that --base-url names; raises UsageError if it is no URL."""
    try:
        return Address.read(base_url)
    except ValueError as error:
        raise UsageError(f"--base-url {error}") from None


def api_key(variable: str, address: Address) -> str | None:
    """The key that an environment variable holds, None where it holds none.

    Many local endpoints want none, so it is only required for OpenAI's own; raises UsageError there.
    """
    key = os.environ.get(variable, "").strip()
    if not key and address.is_openai:
        raise UsageError(
            f"the environment variable {variable} holds no API key; set it, name another with --api-key-env, "
            "or name an endpoint with --base-url"
        )
    return key or None
