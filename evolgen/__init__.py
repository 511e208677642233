"""evolgen grows instruction datasets: `evolgen.evolve(seeds="seeds.jsonl", out="evolved.jsonl")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evolgen.api.batches import cancel_batches, list_batches
    from evolgen.api.chain import run
    from evolgen.api.curating import decontaminate, dedupe, filter
    from evolgen.api.evolving import evolve, evolve_async
    from evolgen.api.growing import self_instruct, self_instruct_async
    from evolgen.api.responding import respond, respond_async
    from evolgen.config import (
        DecontaminateConfig,
        DedupeConfig,
        EvolveConfig,
        FilterConfig,
        RespondConfig,
        SelfInstructConfig,
    )
    from evolgen.errors import EvolgenError

__version__ = "0.1.0"
__all__ = [
    "DecontaminateConfig",
    "DedupeConfig",
    "EvolgenError",
    "EvolveConfig",
    "FilterConfig",
    "RespondConfig",
    "SelfInstructConfig",
    "__version__",
    "cancel_batches",
    "decontaminate",
    "dedupe",
    "evolve",
    "evolve_async",
    "filter",
    "list_batches",
    "respond",
    "respond_async",
    "run",
    "self_instruct",
    "self_instruct_async",
]

_HOMES = {
    "evolgen.api.batches": ("cancel_batches", "list_batches"),
    "evolgen.api.chain": ("run",),
    "evolgen.api.curating": ("decontaminate", "dedupe", "filter"),
    "evolgen.api.evolving": ("evolve", "evolve_async"),
    "evolgen.api.growing": ("self_instruct", "self_instruct_async"),
    "evolgen.api.responding": ("respond", "respond_async"),
    "evolgen.config": (
        "DecontaminateConfig",
        "DedupeConfig",
        "EvolveConfig",
        "FilterConfig",
        "RespondConfig",
        "SelfInstructConfig",
    ),
    "evolgen.errors": ("EvolgenError",),
}


def __getattr__(name: str) -> Any:
    """Import what is used when it is used, so that `import evolgen` and `evolgen --help` stay quick."""
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'evolgen' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
