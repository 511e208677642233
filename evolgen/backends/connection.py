"""The way to one endpoint: an `openai` client, and its failures as TeacherErrors that hold no secret.

The client runs on aiohttp: its default transport tops out at less than half the rate. Retrying is the engine's
business (`max_retries=0`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from evolgen.backends.address import Address, hidden
from evolgen.backends.failures import status_error
from evolgen.config.environment import public_url
from evolgen.errors import ConnectionFailed, TeacherError, Unanswered, UsageError

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

TELEMETRY = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async", "Retry-Count")
"""The client's X-Stainless-* headers, which tell the endpoint about this machine: evolgen sends none of them."""


class Connection:
    """One endpoint; the client is made, and `key` called, when the first call goes out.

    `connections` is how many calls will be in flight, `timeout` is in seconds, for a whole call.
    """

    def __init__(self, base_url: str | None, key: Callable[[], str], *, timeout: float, connections: int) -> None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise UsageError(f"--base-url {public_url(base_url)}: it must begin with http:// or https://")
        self.base_url = base_url
        self._key = key
        self._timeout = timeout
        self._connections = connections
        self._client: openai.AsyncOpenAI | None = None
        self._secrets: tuple[str, ...] = ()

    async def post(self, path: str, body: dict[str, Any]) -> object:
        """Post JSON and return what comes back, as it is."""
        return await self.call(lambda client: client.post(path, body=body, cast_to=object))

    async def call(self, call: Callable[[openai.AsyncOpenAI], Awaitable[T]], timeout: float | None = None) -> T:
        """Make one call with the client; what it failed with is told without the secrets that an endpoint may tell
        back. `timeout` is for this call.
        """
        client = self._client or self._connect()
        try:
            return await self._called(call(client), timeout or self._timeout)
        except TeacherError as error:
            told = hidden(str(error), self._secrets)
            if told == str(error) and not self._tells(error.__cause__):
                raise
            error.args = (told,)
            raise error from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _connect(self) -> openai.AsyncOpenAI:
        import httpx2  # what the openai client is made of
        import openai

        address = Address.read(self.base_url)
        key = self._key()
        self._secrets = (key, *address.secrets)
        headers: dict[str, Any] = {f"X-Stainless-{name}": openai.Omit() for name in TELEMETRY}
        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        try:
            self._client = openai.AsyncOpenAI(
                base_url=address.url,
                api_key=key,
                max_retries=0,
                timeout=self._timeout,
                default_headers=headers | address.headers,
                default_query=address.query,
                http_client=openai.DefaultAioHttpClient(limits=limits, trust_env=not _is_loopback(self.base_url)),
            )
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError) as error:
            raise UsageError(f"--base-url {public_url(self.base_url or '')}: not a usable URL") from error
        return self._client

    def _tells(self, error: BaseException | None) -> bool:
        """Whether an error, or one that it came from, holds a secret."""
        while error is not None:
            if hidden(str(error), self._secrets) != str(error):
                return True
            error = error.__cause__ or error.__context__
        return False

    async def _called(self, call: Awaitable[T], timeout: float) -> T:
        import aiohttp
        import httpx2
        import openai

        try:
            async with asyncio.timeout(timeout):
                return await call
        except (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:
            raise explained(error, timeout) from error


def explained(error: Exception, timeout: float) -> TeacherError:
    """The error that a failure of the client stands for."""
    import aiohttp
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        return status_error(error)
    if isinstance(error, json.JSONDecodeError):
        return Unanswered("malformed", f"the response is not JSON: {error}")
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError | aiohttp.ClientError | OSError):
        return _connection_error(error, timeout)
    return Unanswered("malformed", f"the response can't be read: {type(error).__name__}")


def _connection_error(error: BaseException, timeout: float) -> Unanswered:
    """Tell a call that took too long from one whose connection failed.

    The client calls a dropped connection a timeout too, so what lies beneath its exception decides.
    """
    cause = error
    slow = isinstance(cause, TimeoutError)
    while cause.__cause__ is not None:
        cause = cause.__cause__
        slow |= isinstance(cause, TimeoutError)
    if slow:
        return Unanswered("timeout", f"no answer within {timeout:g} s (--timeout)")
    said = " ".join(str(cause).split())[:200] or type(cause).__name__
    return ConnectionFailed("connection", f"the connection failed: {said}")


def _is_loopback(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
