"""evolgen grows instruction datasets: `evolgen.evolve(seeds="seeds.jsonl", out="evolved.jsonl")`.

Each command is a function, and takes its settings by name: `help(evolgen.evolve)`. `start` takes a command's config and
returns at once with a handle: `run = evolgen.start(evolgen.EvolveConfig(...))`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from evolgen.commands.batches import cancel_batches as cancel_batches
    from evolgen.commands.batches import list_batches as list_batches
    from evolgen.commands.start import Function
    from evolgen.commands.start import start as start
    from evolgen.commands.stores import prune_store as prune_store
    from evolgen.commands.stores import store_info as store_info
    from evolgen.config.decontaminate import DecontaminateConfig as DecontaminateConfig
    from evolgen.config.dedupe import DedupeConfig as DedupeConfig
    from evolgen.config.evolve import EvolveConfig as EvolveConfig
    from evolgen.config.filter import FilterConfig as FilterConfig
    from evolgen.config.respond import RespondConfig as RespondConfig
    from evolgen.config.run import RunConfig as RunConfig
    from evolgen.config.self_instruct import SelfInstructConfig as SelfInstructConfig
    from evolgen.engine.run import Run as Run
    from evolgen.errors import EvolgenError as EvolgenError
    from evolgen.errors import UsageError as UsageError
    from evolgen.events import Event as Event
    from evolgen.report.summary import Summary as Summary

__version__ = "0.1.0"

_HOMES = {
    "cancel_batches": "evolgen.commands.batches",
    "list_batches": "evolgen.commands.batches",
    "prune_store": "evolgen.commands.stores",
    "start": "evolgen.commands.start",
    "store_info": "evolgen.commands.stores",
    "Run": "evolgen.engine.run",
    "EvolgenError": "evolgen.errors",
    "UsageError": "evolgen.errors",
    "Event": "evolgen.events",
    "Summary": "evolgen.report.summary",
}
"""What is here beside the commands and their configs, and where it lives."""


def __getattr__(name: str) -> Function:
    """Import what is used when it is used, so that `import evolgen` and `evolgen --help` stay quick."""
    import importlib

    if name == "__all__":  # what `from evolgen import *` and `help(evolgen)` go by
        found = __dir__()
    elif name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    elif name.startswith("_") or name not in (known := _commands()):
        raise AttributeError(f"module 'evolgen' has no attribute {name!r}")
    else:
        found = known[name]
    globals()[name] = found
    return cast("Function", found)


def __dir__() -> list[str]:
    return sorted([*_HOMES, *_commands(), "__version__"])


def _commands() -> dict[str, Any]:
    """The commands as functions, and their configs, by name."""
    from evolgen.commands import COMMANDS
    from evolgen.commands.start import function

    functions = {command.function: function(command) for command in COMMANDS.values()}
    return functions | {command.config.__name__: command.config for command in COMMANDS.values()}
