"""A model on this machine: starts the bundled runner when first asked, then talks to it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from evolgen.asking import Request
from evolgen.backends import Response
from evolgen.backends.openai_http import OpenAIBackend
from evolgen.runner.server import LocalServer, require_llama_cpp


class LocalBackend:
    """A GGUF model, found (or fetched) and served when the first question comes: a replay needs neither."""

    def __init__(self, find: Callable[[], Path], *, slots: int, timeout: float) -> None:
        self._find = find
        self._slots = slots
        self._timeout = timeout
        self._starting = asyncio.Lock()
        self._server: LocalServer | None = None
        self._http: OpenAIBackend | None = None

    async def complete(self, model: str, request: Request) -> Response:
        async with self._starting:
            http = self._http or await self._start()
        # The seed of the sampler follows from the question, so that a fresh store gets much the same answers.
        seed = int.from_bytes(request.key({})[:4], "big")
        return await http.complete(model, request, {"seed": seed, "cache_prompt": True})

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
        if self._server is not None:
            self._server.close()

    async def _start(self) -> OpenAIBackend:
        require_llama_cpp()  # before a model is fetched in vain
        self._server = await asyncio.to_thread(lambda: LocalServer(self._find(), self._slots))
        key = self._server.key
        self._http = OpenAIBackend(self._server.url, lambda: key, timeout=self._timeout, connections=self._slots)
        return self._http
