"""llama.cpp's own server, in this process, on loopback, behind a random key."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from evolgen.errors import ModelError
from evolgen.runner.models import check_gguf

CONTEXT = 4096
"""Tokens of context a slot gets: prompt and answer together."""

MOST_SLOTS = 8
"""Each slot takes memory for its own context."""


def slots_for(cores: int | None = None) -> int:
    """How many answers to write at once: half the cores, from 1 to 8.

    More slots than the cores can feed write no faster and evict each other's cached prompts: on two cores
    one slot wrote 96 tokens a second, four wrote 91 and eight 83.

    >>> slots_for(2), slots_for(8), slots_for(64)
    (1, 4, 8)
    """
    return max(1, min(MOST_SLOTS, (cores or os.cpu_count() or 2) // 2))


class LocalServer:
    """A running server; raises ModelError if the model can't be served.

    `url` is its OpenAI-compatible base URL and `key` the key it wants.
    """

    def __init__(self, model: Path, slots: int) -> None:
        check_gguf(model)
        self.key = secrets.token_hex(16)
        self._server: Any = _start(model, slots, self.key)
        self.url = f"{self._server.listening_address}/v1"

    def close(self) -> None:
        """Stop serving and give the memory back."""
        self._server = None


def require_llama_cpp() -> Any:
    """The module that serves; raises ModelError where the local extra is not installed."""
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelError(
            "running a local model needs the local extra: pip install 'evolgen[local]' "
            "(or name an endpoint with --base-url and --model)"
        ) from error
    return xllamacpp


def _start(model: Path, slots: int, key: str) -> Any:
    xllamacpp = require_llama_cpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.api_keys = [key]
    params.n_parallel = slots
    params.n_ctx = CONTEXT * slots
    params.cache_prompt = True
    params.cpuparams.n_threads = os.cpu_count() or 2
    params.port = 0
    params.ui = False
    params.warmup = False
    params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelError(
            f"local:{model}: llama.cpp can't load it; the file is damaged (fetch it again) or of a kind it doesn't know"
        ) from error
