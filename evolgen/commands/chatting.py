"""`chat` and `serve`: one model, for a person or for other programs."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from evolgen.backends.connection import NO_KEY, explained, without_telemetry
from evolgen.config import EMBEDDED_MODEL
from evolgen.config.address import hidden
from evolgen.config.environment import address_of, api_key
from evolgen.errors import EvolgenError, UsageError
from evolgen.runner import models
from evolgen.runner.chat import Chat
from evolgen.runner.server import LocalServer, Serving, random_key, require_llama_cpp

Fetching = Callable[[str, int, int], None]

TIMEOUT = 600.0
"""Seconds that an answer may keep a person waiting."""


@contextlib.contextmanager
def open_chat(
    model: str | None = None,
    *,
    base_url: str | None = None,
    api_key_env: str = "OPENAI_API_KEY",
    system: str | None = None,
    serving: Serving | None = None,
    fetching: Fetching = lambda name, done, total: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Chat]:
    """A conversation with a model: one on this machine, or, with `base_url`, one behind an endpoint.

    Raises EvolgenError for what can't be served.
    """
    import openai

    if base_url is not None:
        if model is None:
            raise UsageError("--base-url: name the endpoint's model too: evolgen chat MODEL --base-url URL")
        address = address_of(base_url)
        key = api_key(api_key_env, address)
        client = openai.OpenAI(
            base_url=address.url,
            api_key=key or NO_KEY,
            default_headers=without_telemetry() | address.headers,
            default_query=dict(address.query),
            max_retries=1,
            timeout=TIMEOUT,
            http_client=openai.DefaultHttpxClient(follow_redirects=False, trust_env=not address.is_loopback),
        )
        hide = partial(hidden, secrets=(*filter(None, [key]), *address.secrets))
        with client:
            yield Chat(client, model, system=system, explain=partial(_explained, hide=hide), hide=hide)
        return
    secret = random_key()
    server = start_server(model, replace(serving or Serving(slots=1), key=secret), fetching=fetching)
    if server.note is not None:
        tell(server.note)
    try:
        with openai.OpenAI(base_url=server.url, api_key=secret, max_retries=0) as client:
            yield Chat(client, server.name, system=system, explain=partial(_explained, hide=str))
    finally:
        server.close()


def start_server(
    model: str | None, serving: Serving, *, fetching: Fetching = lambda name, done, total: None
) -> LocalServer:
    """Serve a local model (default: the embedded one, fetched where it isn't here); raises ModelError, UsageError."""
    if serving.key is None and not _is_loopback(serving.host):
        raise UsageError(
            f"--host {serving.host}: others could ask this model; name the environment variable of a key with "
            "--api-key-env, or listen on 127.0.0.1"
        )
    require_llama_cpp()  # before a model is fetched in vain
    found = models.resolve(model or EMBEDDED_MODEL)
    path = found if isinstance(found, Path) else found.pull(lambda done, total: fetching(found.path.name, done, total))
    return LocalServer(path, serving)


def key_of(variable: str | None) -> str | None:
    """The key that an environment variable holds; None where no variable is named. Raises UsageError if it is empty."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the environment variable {variable} holds no key; set it: export {variable}=...")
    return key


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _explained(error: Exception, hide: Callable[[str], str]) -> EvolgenError:
    """What the client failed with, without the secrets that an endpoint may tell back."""
    return EvolgenError(str(explained(error, TIMEOUT, hide)))
