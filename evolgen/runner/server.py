"""llama.cpp's own server, in this process: OpenAI's API over HTTP, for evolgen itself and for other programs."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolgen.errors import ModelError
from evolgen.runner import memory, templates
from evolgen.runner.gguf import Header, read_header

CONTEXT = 4096
"""Tokens of context a slot gets unless it is said: prompt and answer together."""

LONGEST_TEXT = 2048
"""Tokens of a text that is to be embedded. All of them go through the model at once, and llama.cpp computes what it
would need to write on after each: a text of 3,000 tokens took 1.2 GB with a model of 135M, one of 1,500 half that."""

MOST_SLOTS = 8
"""Each slot takes memory for its own context."""

PROMPTS_KEPT = 1024
"""Megabytes at the most in which prompts are kept that no slot holds any more; llama.cpp's own default is 8,192."""

GPU_LAYERS_DEFAULT = -1
"""As many layers on a GPU as it holds."""


@dataclass(frozen=True)
class Serving:
    """How a model is served: texts at once, tokens of context for each, threads, and who may ask.

    None is what suits the model and the machine: half the cores as slots, `CONTEXT` tokens or as many as the model was
    trained for, all cores as threads. `template` is a name of `templates.TEMPLATES`. With `embeds` it gives embeddings
    too. Without a `key` everybody may ask. Port 0 is any that is free.
    """

    slots: int | None = None
    context: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    template: str | None = None
    embeds: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = None


def cores() -> int:
    """The processors that this program may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def slots_for(cores: int) -> int:
    """How many answers to write at once: half the cores, from 1 to 8.

    More slots than the cores can feed write no faster and evict each other's cached prompts: on two cores
    one slot wrote 96 tokens a second, four wrote 91 and eight 83.

    >>> slots_for(2), slots_for(8), slots_for(64)
    (1, 4, 8)
    """
    return max(1, min(MOST_SLOTS, cores // 2))


class LocalServer:
    """A running server; raises ModelError if the model can't be served.

    `url` is its OpenAI-compatible base URL, `name` what it calls the model, `slots` and `context` what it chose, and
    `note` a sentence that people should read, if there is one.
    """

    def __init__(self, model: Path, serving: Serving) -> None:
        self.header = header = read_header(model)
        choice = templates.choose(header, serving.template)
        self.note = choice.note
        self.name = header.path.stem
        self.context = _context(header, serving)
        self.slots = _slots(header, serving, self.context)
        _check_port(serving)
        params = _params(header, serving)
        params.n_parallel = self.slots
        params.n_ctx = self.context * self.slots
        if choice.template is not None:
            params.chat_template = choice.template.jinja
            params.antiprompt = list(choice.template.stop)
        if serving.embeds:
            _embed(params, header, self.context)
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


def random_key() -> str:
    """A key for a server that nobody else should ask."""
    return secrets.token_hex(16)


def _context(header: Header, serving: Serving) -> int:
    """Tokens for each slot; a model is given no more than it was trained for unless that is asked for."""
    return serving.context or min(CONTEXT, header.context or CONTEXT)


def slots_of(model: Path, wanted: int | None) -> int:
    """As many slots as are wanted, up to the most there are, or as the cores can feed and the memory holds."""
    if wanted is not None:
        return min(wanted, MOST_SLOTS)
    header = read_header(model)
    return _fitting(header, _context(header, Serving()))


def _slots(header: Header, serving: Serving, context: int) -> int:
    """The slots of a server; raises ModelError if the memory doesn't hold them."""
    if _on_gpu(serving):
        return serving.slots or slots_for(cores())
    slots = serving.slots or _fitting(header, context)
    memory.check_fits(header, context, slots)
    return slots


def _fitting(header: Header, context: int) -> int:
    """As many slots as the cores can feed and the memory holds; one at the least."""
    slots, there = slots_for(cores()), memory.available()
    while slots > 1 and there is not None and memory.needed(header, context, slots).total > there:
        slots -= 1
    return slots


def _on_gpu(serving: Serving) -> bool:
    """Whether layers go to a GPU, whose memory is not reckoned with here."""
    if serving.gpu_layers == 0:
        return False
    llama = require_llama_cpp()
    gpus = {llama.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU, getattr(
        llama.ggml_backend_dev_type, "GGML_BACKEND_DEVICE_TYPE_IGPU", None)}  # fmt: skip
    return any(device["type"] in gpus for device in llama.get_device_info())


def _params(header: Header, serving: Serving) -> Any:
    params = require_llama_cpp().CommonParams()
    params.model.path = str(header.path)
    params.model_alias = {header.path.stem}
    params.api_keys = [] if serving.key is None else [serving.key]
    params.hostnames = [serving.host]
    params.port = serving.port
    params.cpuparams.n_threads = serving.threads or cores()
    params.n_gpu_layers = GPU_LAYERS_DEFAULT if serving.gpu_layers is None else serving.gpu_layers
    params.cache_prompt = True
    there = memory.available()
    params.cache_ram_mib = PROMPTS_KEPT if there is None else min(PROMPTS_KEPT, there // 8 // 2**20)
    params.endpoint_metrics = True
    params.ui = False
    params.warmup = False
    params.verbosity = -1
    return params


def _embed(params: Any, header: Header, context: int) -> None:
    """Turn embeddings on, pooled as the model was trained to, or by the mean over a text's tokens.

    Slots share one cache then: with caches of their own llama.cpp gives wrong vectors for texts that go through the
    model together.
    """
    params.embedding = True
    params.kv_unified = True
    params.n_batch = params.n_ubatch = min(context, LONGEST_TEXT)
    if not header.pools:
        params.pooling_type = require_llama_cpp().llama_pooling_type.LLAMA_POOLING_TYPE_MEAN


def _check_port(serving: Serving) -> None:
    """Raise ModelError if nobody can listen there."""
    try:
        (family, *_, address), *_ = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ModelError(
            f"can't listen on {serving.host}, port {serving.port}: {why}; name another with --port"
        ) from error


def _start(params: Any, model: Path) -> Any:
    try:
        return require_llama_cpp().Server(params)
    except RuntimeError as error:
        raise ModelError(
            f"{model}: llama.cpp can't load it; the file is damaged (fetch it again) or of a kind it doesn't know"
        ) from error
