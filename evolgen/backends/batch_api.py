"""OpenAI's files and batches at one endpoint: what each call sends and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from evolgen.answers import KEY
from evolgen.backends.connection import Connection
from evolgen.backends.failures import status_error
from evolgen.errors import Denied, TeacherError, Unanswered

if TYPE_CHECKING:
    import openai

REQUESTS = 50_000
"""Questions in one batch at the most."""

BYTES = 200_000_000
"""Bytes of one batch's file at the most."""

TOKEN = "evolgen"
"""The name under which our token goes along with a batch, in its metadata."""

MOVING = 3600.0
"""Seconds that a file may take on its way."""


@dataclass(frozen=True)
class BatchState:
    """What the endpoint says of a batch; `code` and `problem` tell why it failed as a whole.

    Beside the endpoint's own words `status` is "gone" where it knows the batch no more.
    """

    id: str
    status: str
    completed: int
    failed: int
    total: int
    files: tuple[str, ...]
    code: str
    problem: str

    @property
    def over(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled", "gone")


class BatchApi:
    """Files and batches over one connection; every method raises TeacherError as a question would."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def upload(self, lines: IO[bytes]) -> str:
        """Send a file of questions; returns its name there."""

        async def send(client: openai.AsyncOpenAI) -> object:
            lines.seek(0)
            return await client.files.create(file=("evolgen.jsonl", lines), purpose="batch", timeout=MOVING)

        name = getattr(await self._connection.call(send, MOVING), "id", None)
        if not isinstance(name, str):
            raise Unanswered("malformed", "the endpoint gave an uploaded file no name")
        return name

    async def create(self, file: str, path: str, token: str) -> BatchState:
        """Begin a batch of the questions in a file; if this fails it may have begun all the same, see `find`."""
        body = {"input_file_id": file, "endpoint": f"/v1{path}", "completion_window": "24h", "metadata": {TOKEN: token}}
        return _state(await self._connection.post("/batches", body))

    async def get(self, id: str) -> BatchState | None:
        """How a batch stands; None where the endpoint knows none of that name."""
        import openai

        async def get(client: openai.AsyncOpenAI) -> object:
            try:
                return await client.get(f"/batches/{id}", cast_to=object)
            except openai.NotFoundError:
                return None

        told = await self._connection.call(get)
        return None if told is None else _state(told)

    async def find(self, token: str) -> BatchState | None:
        """The batch that our token went along with, if there is one."""
        query: dict[str, object] = {"limit": 100}

        async def get(client: openai.AsyncOpenAI) -> object:
            return await client.get("/batches", cast_to=object, options={"params": query})

        while True:
            page = await self._connection.call(get)
            entries = page.get("data") if isinstance(page, dict) else None
            if not isinstance(page, dict) or not isinstance(entries, list):
                raise Unanswered("malformed", "the endpoint's list of batches can't be read")
            for entry in entries:
                if _table(_table(entry).get("metadata")).get(TOKEN) == token:
                    return _state(entry)
            if not page.get("has_more") or not entries:
                return None
            query["after"] = _table(entries[-1]).get("id")

    async def cancel(self, id: str) -> BatchState:
        """Have a batch end early; what it has answered by then can still be had."""
        return _state(await self._connection.post(f"/batches/{id}/cancel", {}))

    async def download(self, file: str, into: IO[bytes]) -> None:
        """Fetch a file; `into` holds it, and nothing else, afterwards."""

        async def fetch(client: openai.AsyncOpenAI) -> None:
            into.seek(0)
            into.truncate()
            async with client.files.with_streaming_response.content(file, timeout=MOVING) as response:
                async for piece in response.iter_bytes():
                    into.write(piece)
            into.seek(0)

        await self._connection.call(fetch, MOVING)


def _state(told: object) -> BatchState:
    if not isinstance(told, dict) or not isinstance(told.get("id"), str) or not isinstance(told.get("status"), str):
        raise Unanswered("malformed", f"the endpoint's word on a batch can't be read: {str(told)[:100]!r}")
    counts = _table(told.get("request_counts"))
    errors = _table(told.get("errors")).get("data")
    error = _table(errors[0]) if isinstance(errors, list) and errors else {}
    return BatchState(
        id=told["id"],
        status=told["status"],
        **{name: _number(counts.get(name)) for name in ("completed", "failed", "total")},
        files=tuple(file for file in (told.get("output_file_id"), told.get("error_file_id")) if isinstance(file, str)),
        code=str(error.get("code") or ""),
        problem=str(error.get("message") or "")[:200],
    )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def question_line(key: bytes, path: str, body: Mapping[str, Any]) -> bytes:
    """One question of a batch; its key is its name there."""
    line = {"custom_id": key.hex(), "method": "POST", "url": f"/v1{path}", "body": body}
    return json.dumps(line).encode() + b"\n"


def read_lines(file: IO[bytes]) -> Iterator[tuple[bytes, object]]:
    """The outcomes in a batch's output or error file: key and response body, or the TeacherError it stands for.

    Lines that are not ours, or not whole, are passed over: their questions will be missing.
    """
    for text in file:
        try:
            line = json.loads(text)
            key = bytes.fromhex(line["custom_id"])
        except (ValueError, TypeError, KeyError):
            continue
        if len(key) == KEY:
            yield key, _outcome(line)


def _outcome(line: Mapping[str, Any]) -> object:
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if status == 200 and not error:
        return body
    if isinstance(status, int) and status >= 400:
        return _line_error(status, body)
    told = error if isinstance(error, dict) else {}
    code = str(told.get("code") or "failed").removeprefix("batch_")
    return Unanswered(f"batch_{code}", f"its batch left it unanswered: {told.get('message') or code}")


def _line_error(status: int, body: object) -> TeacherError:
    """What the same status would have meant for a question that was asked directly."""
    import httpx2
    import openai

    told = body.get("error", body) if isinstance(body, dict) else body
    message = str(told.get("message") if isinstance(told, dict) else told)[:200]
    response = httpx2.Response(status, request=httpx2.Request("POST", "https://batch"))
    error = status_error(openai.APIStatusError(message, response=response, body=told))
    if isinstance(error, Unanswered) or (isinstance(error, Denied) and error.rule != "quota"):
        # a limit that a batch met is none of the direct calls', and a key that serves the other lines is no wrong one
        return Unanswered("batch_failed", f"its batch left it unanswered: {error}")
    return error
