"""evolgen grows instruction datasets: `evolgen.evolve(seeds="seeds.jsonl", out="evolved.jsonl")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evolgen.api import evolve, evolve_async
    from evolgen.config import EvolveConfig
    from evolgen.errors import EvolgenError

__version__ = "0.1.0"
__all__ = ["EvolgenError", "EvolveConfig", "__version__", "evolve", "evolve_async"]

_HOMES = {
    "evolve": "evolgen.api",
    "evolve_async": "evolgen.api",
    "EvolveConfig": "evolgen.config",
    "EvolgenError": "evolgen.errors",
}


def __getattr__(name: str) -> Any:
    """Import what is used when it is used, so that `import evolgen` and `evolgen --help` stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'evolgen' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
