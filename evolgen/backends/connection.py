"""The way to one endpoint: an `openai` client, and its failures as TeacherErrors that hold no secret.

The client runs on aiohttp: its default transport tops out at less than half the rate. Retrying is the engine's
business (`max_retries=0`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from evolgen.backends.failures import status_error
from evolgen.backends.words import told_of
from evolgen.config.address import Address, hidden, hidden_in
from evolgen.errors import ConnectionFailed, TeacherError, Unanswered, UsageError

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

TELEMETRY = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async", "Retry-Count")
"""The client's X-Stainless-* headers, which tell the endpoint about this machine: evolgen sends none of them."""


NO_KEY = "none"
"""What is sent where there is no key: the client wants one."""

CONNECTING = 15.0
"""Seconds within which a connection must stand, its TLS handshake included."""

ASLEEP = 1.0
"""Seconds by which a deadline is heard late only if the program itself was stopped meanwhile."""


def without_telemetry() -> dict[str, Any]:
    """Default headers of a client that tells nothing about this machine."""
    import openai

    return {f"X-Stainless-{name}": openai.Omit() for name in TELEMETRY}


class Connection:
    """One endpoint; the client is made, and `key` called, when the first call goes out.

    `connections` is how many calls will be in flight, `timeout` is in seconds, for a whole call.
    """

    def __init__(self, address: Address, key: Callable[[], str | None], *, timeout: float, connections: int) -> None:
        self.address = address
        self._key = key
        self._timeout = timeout
        self._connections = connections
        self._client: openai.AsyncOpenAI | None = None
        self._secrets: tuple[str, ...] = ()

    async def post(self, path: str, body: dict[str, Any]) -> object:
        """Post JSON and return what comes back; a text where that is no JSON, whatever it is called."""
        said = await self.call(lambda client: client.post(path, body=body, cast_to=object))
        if isinstance(said, str):
            with contextlib.suppress(ValueError, RecursionError):
                return json.loads(said)
        return said

    def hide(self, text: str) -> str:
        """A text without the secrets of this connection."""
        return hidden(text, self._secrets)

    async def call(self, call: Callable[[openai.AsyncOpenAI], Awaitable[T]], timeout: float | None = None) -> T:
        """Make one call with the client; what it failed with is told without the secrets that an endpoint may tell
        back. `timeout` is for this call.
        """
        client = self._client or self._connect()
        return await self._called(call(client), timeout or self._timeout)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _connect(self) -> openai.AsyncOpenAI:
        import httpx2  # what the openai client is made of
        import openai

        from evolgen.backends.bounded import BoundedClient

        address, key = self.address, self._key()
        self._secrets = (*filter(None, [key]), *address.secrets)
        headers = without_telemetry()
        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        try:
            self._client = openai.AsyncOpenAI(
                base_url=address.url,
                api_key=key or NO_KEY,
                max_retries=0,
                timeout=httpx2.Timeout(None, connect=CONNECTING, pool=CONNECTING),  # the rest is for `_called`
                default_headers=headers | address.headers,
                default_query=dict(address.query),
                http_client=BoundedClient(self._hide_in, limits=limits, trust_env=not address.is_loopback),
            )
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError) as error:
            raise UsageError(f"--base-url {address}: not a usable URL") from error
        return self._client

    def _hide_in(self, body: bytes) -> bytes:
        return hidden_in(body, self._secrets)

    def _tells(self, error: BaseException | None) -> bool:
        """Whether an error, or one that it came from, holds a secret."""
        while error is not None:
            if self.hide(str(error)) != str(error):
                return True
            error = error.__cause__ or error.__context__
        return False

    async def _called(self, call: Awaitable[T], timeout: float) -> T:
        import aiohttp
        import httpx2
        import openai

        try:
            async with within(timeout):
                return await call
        except (
            openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError, ValueError, RecursionError
        ) as error:  # fmt: skip
            failure = explained(error, timeout, self.hide)
            raise failure from (None if self._tells(error) else error)


class within:  # it reads as `asyncio.timeout` does
    """Raises TimeoutError if the work in it takes so many seconds, those in which the program was stopped apart.

    After a laptop's lid was closed what has come meanwhile is read first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._scope = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        self._wait(self._seconds)

    async def __aexit__(self, *error: Any) -> None:
        self._timer.cancel()
        await self._scope.__aexit__(*error)

    def _wait(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._hear)

    def _hear(self) -> None:
        late = self._loop.time() - self._due
        if late > ASLEEP:
            self._wait(min(late, self._seconds))
        else:
            self._scope.reschedule(self._loop.time())


def explained(error: Exception, timeout: float, hide: Callable[[str], str]) -> TeacherError:
    """The error that a failure of the client stands for; `hide` takes the secrets out of what an endpoint tells."""
    import aiohttp
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        return status_error(error, hide)
    if isinstance(error, json.JSONDecodeError):
        return not_json(error.doc, hide)
    if isinstance(error, RecursionError):
        return Unanswered("malformed", "the response is nested too deeply to be read")
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError | aiohttp.ClientError | OSError):
        return _connection_error(error, timeout, hide)
    return Unanswered("malformed", f"the response can't be read: {type(error).__name__}")


def not_json(said: str, hide: Callable[[str], str] = str) -> Unanswered:
    """The error that a body stands for which is no JSON."""
    words = told_of(said, hide)
    return Unanswered("malformed", f"the response is not JSON{f': {words}' if words else ''}")


def _connection_error(error: BaseException, timeout: float, hide: Callable[[str], str]) -> Unanswered:
    """Tell a call that took too long from one whose connection failed, or never came to be.

    The client calls a dropped connection a timeout too, so what lies beneath its exception decides.
    """
    import aiohttp

    cause = error
    slow, connecting = isinstance(cause, TimeoutError), False
    while cause.__cause__ is not None:
        cause = cause.__cause__
        slow |= isinstance(cause, TimeoutError)
        connecting |= isinstance(cause, aiohttp.ConnectionTimeoutError)
    if connecting:
        return ConnectionFailed("connection", f"the connection failed: it did not stand within {CONNECTING:g} s")
    if slow:
        return Unanswered("timeout", f"no answer within {timeout:g} s (--timeout)")
    said = hide(" ".join(str(cause).split()))[:200] or type(cause).__name__
    return ConnectionFailed("connection", f"the connection failed: {said}")
