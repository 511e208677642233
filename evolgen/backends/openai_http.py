"""Any OpenAI-compatible endpoint, over the `openai` client.

The client runs on aiohttp with `cast_to=object`: its default transport tops out at less than half the rate,
and building its response models costs more than evolgen's own work on an answer. Retrying is the engine's
business (`max_retries=0`); here every failure becomes one TeacherError.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evolgen.asking import Request, message_text
from evolgen.backends import Embeddings, Response
from evolgen.backends.address import Address, hidden
from evolgen.backends.retry_after import retry_after
from evolgen.backends.vectors import read_embeddings
from evolgen.config import public_url
from evolgen.errors import ConnectionFailed, Denied, Refused, TeacherError, Unanswered, UsageError
from evolgen.records import printable

if TYPE_CHECKING:
    import openai

ADAPTABLE = ("schema", "max_tokens", "temperature", "top_p", "presence_penalty", "stop")
"""Parameters that an endpoint may refuse; the question is then put without them, or in another form."""

TOO_LONG = ("context_length", "context length", "context size", "context window", "is too large to process")
"""How endpoints say that a question is too long."""

TELEMETRY = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async", "Retry-Count")
"""The client's X-Stainless-* headers, which tell the endpoint about this machine: evolgen sends none of them."""


class OpenAIBackend:
    """One endpoint: all models behind a base URL.

    `key` is called when the first question goes out. `connections` is how many calls will be in flight,
    `timeout` is in seconds, for a whole call.
    """

    def __init__(self, base_url: str | None, key: Callable[[], str], *, timeout: float, connections: int) -> None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise UsageError(f"--base-url {public_url(base_url)}: it must begin with http:// or https://")
        self._base_url = base_url
        self._key = key
        self._timeout = timeout
        self._connections = connections
        self._client: openai.AsyncOpenAI | None = None
        self._secrets: tuple[str, ...] = ()
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        self._refused_embedding: defaultdict[str, set[str]] = defaultdict(set)

    async def complete(self, model: str, request: Request, extra: dict[str, Any] | None = None) -> Response:
        """One attempt, in as many forms as it takes to learn what the endpoint accepts.

        `extra` goes into the body as it is.
        """
        path = "/chat/completions" if request.prompt is None else "/completions"

        def body(without: Set[str]) -> Response:
            return _body(model, request, without) | (extra or {})

        def lesson(failure: TeacherError, known: Set[str]) -> str | None:
            return _lesson(failure, request, known)

        response, form = await self._put(self._refused[model], path, body, lesson)
        return _checked(response) | {"form": form}

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """One attempt; vectors come as base64 where the endpoint can, which is a fifth of the bytes of the numbers."""

        def body(without: Set[str]) -> Response:
            compact = {} if "encoding_format" in without else {"encoding_format": "base64"}
            return {"model": model, "input": [printable(text) for text in texts], **compact}

        response, form = await self._put(self._refused_embedding[model], "/embeddings", body, _embedding_lesson)
        answer = read_embeddings(response, len(texts))
        return Embeddings(answer.vectors, {**answer.call, "form": form})

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _put(
        self,
        refused: set[str],
        path: str,
        body: Callable[[Set[str]], Response],
        lesson: Callable[[TeacherError, Set[str]], str | None],
    ) -> tuple[object, dict[str, Any]]:
        """Post a question, without the parameters known to be refused; returns the response and the form it took."""
        client = self._client or self._connect()
        while True:
            without = sorted(refused)
            try:
                response = await self._post(client, path, body(refused))
            except TeacherError as failure:
                learned = lesson(failure, refused)
                if learned is None and set(without) == refused:
                    raise
                if learned is not None:
                    refused.add(learned)
                continue  # put it again in the form just learned, here or by another call meanwhile
            return response, {"path": path, "without": without}

    def _connect(self) -> openai.AsyncOpenAI:
        import httpx2  # what the openai client is made of
        import openai

        address = Address.read(self._base_url)
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
                http_client=openai.DefaultAioHttpClient(limits=limits, trust_env=not _is_loopback(self._base_url)),
            )
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError) as error:
            raise UsageError(f"--base-url {public_url(self._base_url or '')}: not a usable URL") from error
        return self._client

    async def _post(self, client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> object:
        """One HTTP call; what it failed with is told without the secrets that an endpoint may have told back."""
        try:
            return await self._posted(client, path, body)
        except TeacherError as error:
            told = hidden(str(error), self._secrets)
            if told == str(error) and not self._tells(error.__cause__):
                raise
            error.args = (told,)
            raise error from None

    def _tells(self, error: BaseException | None) -> bool:
        """Whether an error, or one that it came from, holds a secret."""
        while error is not None:
            if hidden(str(error), self._secrets) != str(error):
                return True
            error = error.__cause__ or error.__context__
        return False

    async def _posted(self, client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> object:
        import aiohttp
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self._timeout):
                return await client.post(path, body=body, cast_to=object)
        except openai.APIStatusError as error:
            raise _status_error(error) from error
        except json.JSONDecodeError as error:
            raise Unanswered("malformed", f"the response is not JSON: {error}") from error
        except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            raise self._connection_error(error) from error
        except (openai.OpenAIError, ValueError) as error:
            raise Unanswered("malformed", f"the response can't be read: {type(error).__name__}") from error

    def _connection_error(self, error: BaseException) -> Unanswered:
        """Tell a call that took too long from one whose connection failed.

        The client calls a dropped connection a timeout too, so what lies beneath its exception decides.
        """
        cause = error
        timeout = isinstance(cause, TimeoutError)
        while cause.__cause__ is not None:
            cause = cause.__cause__
            timeout |= isinstance(cause, TimeoutError)
        if timeout:
            return Unanswered("timeout", f"no answer within {self._timeout:g} s (--timeout)")
        said = " ".join(str(cause).split())[:200] or type(cause).__name__
        return ConnectionFailed("connection", f"the connection failed: {said}")


def _checked(response: object) -> Response:
    """A response with a choice is an answer; anything else is a failed attempt."""
    if not isinstance(response, dict):
        raise Unanswered("malformed", f"the response is not a JSON object: {str(response)[:60]!r}")
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        error = response.get("error")
        raise Unanswered("no_choices", f"the response has no choices{f': {str(error)[:100]}' if error else ''}")
    if not isinstance(choices[0], dict) or message_text(choices[0]) is None:
        raise Unanswered("malformed", "the response's first choice has no text")
    return response


def _body(model: str, request: Request, without: Set[str]) -> dict[str, Any]:
    """The request as this endpoint takes it."""
    textual = "schema" in without and request.textual
    messages = [{"role": role, "content": content} for role, content in (textual or request.messages)]
    body: dict[str, Any] = {"model": model}
    if request.schema is not None and "schema" in without and messages and not textual:
        messages[-1]["content"] += f"\n\nAnswer with JSON that follows this schema:\n{json.dumps(request.schema)}"
    elif request.schema is not None and "schema" not in without:
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    body |= {"messages": messages} if request.prompt is None else {"prompt": request.prompt}
    sampling = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "stop": list(request.stop) or None,
    }
    body |= {name: value for name, value in sampling.items() if value is not None and name not in without}
    if request.max_tokens is not None:
        body["max_completion_tokens" if "max_tokens" in without else "max_tokens"] = request.max_tokens
    return body


def _lesson(failure: TeacherError, request: Request, known: Set[str]) -> str | None:
    """Which parameter a refused request was refused for, if that can be told and is news."""
    cause = failure.__cause__
    if not isinstance(failure, Refused) or failure.rule != "bad_request" or cause is None:
        return None
    body = getattr(cause, "body", None)
    named = str(body.get("param") or "") if isinstance(body, dict) else ""
    message = str(cause).lower()
    complaint = any(word in message for word in ("unsupported", "not support", "unrecognized", "unknown", "extra"))
    for name in ADAPTABLE:
        words = ("response_format", "json_schema", "schema", "grammar") if name == "schema" else (name,)
        mentioned = named in words or (complaint and any(word in message for word in words))
        if mentioned and name not in known and getattr(request, name) not in (None, ()):
            return name
    return None


def _embedding_lesson(failure: TeacherError, known: Set[str]) -> str | None:
    """Whether a call for embeddings was refused because they were wanted as base64."""
    told = str(failure.__cause__).lower()
    refused = isinstance(failure, Refused) and ("encoding_format" in told or "base64" in told)
    return "encoding_format" if refused and "encoding_format" not in known else None


def _status_error(error: openai.APIStatusError) -> TeacherError:
    status, said = error.status_code, _said(error)
    code = f"{error.code or ''} {error.type or ''}"
    rule = _refusal_rule(code, str(error))
    if status in (401, 403) and rule != "content_filter":
        return Denied("denied", f"the endpoint refused the key (HTTP {status}{said}); check --api-key-env and --model")
    if status in (404, 405, 501):
        return Denied("denied", f"the endpoint doesn't know the model or the path (HTTP {status}{said}); "
                      "check --model and --base-url")  # fmt: skip
    if status == 402 or (status == 429 and "insufficient_quota" in code):
        denied = Denied("quota", f"the account's quota is exhausted (HTTP {status}{said})")
        denied.exit_code = 3
        return denied
    wait = retry_after(error.response.headers, now=time.time())
    if status == 429:
        return Unanswered("rate_limited", f"too many requests (HTTP 429{said})", wait)
    # llama.cpp answers 500 to a text that is too long to embed
    if status in (408, 409, 425) or (status >= 500 and rule != "context_length"):
        return Unanswered(f"http_{status}", f"the endpoint failed (HTTP {status}{said})", wait)
    return Refused(rule, f"the endpoint refused the question (HTTP {status}{said})")


def _refusal_rule(code: str, message: str) -> str:
    text = f"{code} {message}".lower()
    if any(
        word in text for word in ("content_filter", "content_policy", "content management", "moderation", "flagged")
    ):
        return "content_filter"
    if any(word in text for word in TOO_LONG):
        return "context_length"
    return "bad_request"


def _said(error: openai.APIStatusError) -> str:
    """The endpoint's own words, short, or nothing."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f": {str(message).strip()[:200]}" if message else ""


def _is_loopback(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
