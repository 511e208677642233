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

LONGEST_TEXT = 2048
"""Tokens of a text that is to be embedded. All of them go through the model at once, and llama.cpp computes what it
would need to write on after each: a text of 3,000 tokens took 1.2 GB with a model of 135M, one of 1,500 half that."""

METADATA = 32 * 2**20
"""Bytes at the beginning of a model file in which its metadata lie."""

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

    `url` is its OpenAI-compatible base URL and `key` the key it wants. With `embeddings` it is there to embed: it
    has one slot, for texts that share several (in caches of their own) come out wrong.
    """

    def __init__(self, model: Path, slots: int, *, embeddings: bool = False) -> None:
        check_gguf(model)
        self.key = secrets.token_hex(16)
        params = _params(model, self.key)
        if embeddings:
            _embed(params, model)
        else:
            params.n_parallel = slots
            params.n_ctx = CONTEXT * slots
        self._server: Any = _start(params, model)
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


def _params(model: Path, key: str) -> Any:
    params = require_llama_cpp().CommonParams()
    params.model.path = str(model)
    params.api_keys = [key]
    params.cache_prompt = True
    params.cpuparams.n_threads = os.cpu_count() or 2
    params.port = 0
    params.ui = False
    params.warmup = False
    params.verbosity = -1
    return params


def _embed(params: Any, model: Path) -> None:
    """Turn embeddings on, pooled as the model was trained to, or by the mean over a text's tokens."""
    params.embedding = True
    params.n_parallel = 1
    params.n_ctx = params.n_batch = params.n_ubatch = LONGEST_TEXT
    if not has_pooling(model):
        params.pooling_type = require_llama_cpp().llama_pooling_type.LLAMA_POOLING_TYPE_MEAN


def has_pooling(model: Path) -> bool:
    """Whether a GGUF file says how to pool: it then has the key `<architecture>.pooling_type` near its beginning."""
    with model.open("rb") as file:
        return b".pooling_type" in file.read(METADATA)


def _start(params: Any, model: Path) -> Any:
    try:
        return require_llama_cpp().Server(params)
    except RuntimeError as error:
        raise ModelError(
            f"local:{model}: llama.cpp can't load it; the file is damaged (fetch it again) or of a kind it doesn't know"
        ) from error
