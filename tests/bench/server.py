"""A loopback teacher that costs little: it answers each request after a fixed latency, on one core of its own.

    python -m tests.bench.server LATENCY SLOW_SHARE SLOW_LATENCY LIMITED_SHARE

prints its port. `SLOW_SHARE` of the answers (chosen by the question) take `SLOW_LATENCY` seconds. `LIMITED_SHARE` of
the calls (chosen by the question and how often it was put) get a 429 with "Retry-After: 2"; a GET tells how many of
them one question got at the most.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from tests.teacher import sensible

LIMITED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Connection(asyncio.Protocol):
    """One keep-alive connection that carries one request at a time."""

    latency, slow_share, slow_latency, limited_share = 0.2, 0.0, 0.0, 0.0
    refused: ClassVar[Counter[bytes]] = Counter()

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self._data = b""
            self._write(str(max(self.refused.values(), default=0)).encode())
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._data = b""
        digest = hashlib.sha256(body).digest()
        again = hashlib.sha256(digest + bytes([self.refused[digest]])).digest()
        if int.from_bytes(again[:4], "big") < self.limited_share * 2**32:
            self.refused[digest] += 1
            asyncio.get_running_loop().call_later(self.latency, self._transport.write, LIMITED)
            return
        slow = int.from_bytes(digest[:4], "big") < self.slow_share * 2**32
        delay = self.slow_latency if slow else self.latency
        asyncio.get_running_loop().call_later(delay, self._answer, body, digest)

    def _answer(self, body: bytes, digest: bytes) -> None:
        if self._transport.is_closing():
            return
        text = _text(body, digest)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 300, "completion_tokens": 80, "total_tokens": 380}
        answer = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        self._write(answer)

    def _write(self, answer: bytes) -> None:
        self._transport.write(HEAD % len(answer) + answer)


def _text(body: bytes, digest: bytes) -> str:
    if b"compare two instructions" in body:
        return "Not Equal"
    if b"response_format" in body or b"is a classification task" in body:
        return sensible(json.loads(body))
    return f"Text {digest.hex()} " + "and more of it " * 20


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def running(
    latency: float, slow_share: float = 0.0, slow_latency: float = 0.0, limited_share: float = 0.0
) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    settings = map(str, (latency, slow_share, slow_latency, limited_share))
    command = [sys.executable, "-m", "tests.bench.server", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


if __name__ == "__main__":
    Connection.latency, Connection.slow_share, Connection.slow_latency, Connection.limited_share = map(
        float, sys.argv[1:]
    )
    asyncio.run(serve())
