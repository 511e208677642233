"""A model on this machine: starts the bundled runner when first asked, then talks to it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evolgen.asking import Request
from evolgen.backends import Embeddings, Response
from evolgen.backends.openai_http import OpenAIBackend
from evolgen.config.address import Address
from evolgen.runner.server import LONGEST_TEXT, LocalServer, Serving, random_key, require_llama_cpp


class LocalBackend:
    """A GGUF model, found (or fetched) and served when the first question comes: a replay needs neither.

    It is served twice where it has to write and to embed.
    """

    def __init__(
        self, find: Callable[[], Path], serving: Serving, *, timeout: float, tell: Callable[[str], None]
    ) -> None:
        self._find = find
        self._serving = serving
        self._timeout = timeout
        self._tell = tell
        self._starting = asyncio.Lock()
        self._embedding = asyncio.Lock()
        self._writer: _Served | None = None
        self._embedder: _Served | None = None

    async def complete(self, model: str, request: Request) -> Response:
        async with self._starting:
            self._writer = served = self._writer or await self._start(embeddings=False)
        # The seed of the sampler follows from the question, so that a fresh store gets much the same answers.
        seed = int.from_bytes(request.key({})[:4], "big")
        return await served.http.complete(model, request, {"seed": seed, "cache_prompt": True})

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """One attempt, by a server of its own: llama.cpp writes or embeds, and writing has other slots."""
        async with self._starting:
            self._embedder = served = self._embedder or await self._start(embeddings=True)
        async with self._embedding:  # it has one slot, and the timeout excludes waiting for it
            return await served.http.embed(model, texts)

    def leave(self) -> None:
        pass

    async def close(self) -> None:
        for served in (self._writer, self._embedder):
            if served is not None:
                await served.http.close()
                served.server.close()

    async def _start(self, *, embeddings: bool) -> _Served:
        require_llama_cpp()  # before a model is fetched in vain
        key = random_key()
        serving = replace(self._serving, key=key)
        if embeddings:
            serving = replace(serving, slots=1, context=LONGEST_TEXT, embeds=True)
        server = await asyncio.to_thread(lambda: LocalServer(self._find(), serving))
        if server.note is not None and not embeddings:
            self._tell(server.note)
        http = OpenAIBackend(
            Address(server.url), lambda: key, timeout=self._timeout, connections=server.slots, tell=self._tell
        )
        return _Served(server, http)


@dataclass(frozen=True)
class _Served:
    """A server that runs, and the way to it."""

    server: LocalServer
    http: OpenAIBackend
