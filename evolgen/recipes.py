"""Recipes: the settings of a command in a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from evolgen.errors import UsageError, nearest

COMMANDS = ("evolve", "filter", "dedupe", "decontaminate")


def read_recipe(path: Path) -> tuple[str, dict[str, Any]]:
    """The command of a recipe and its settings: one table named after it; raises UsageError for anything else.

    Paths in it are relative to the folder that the command is run in, as they would be on the command line.
    """
    try:
        recipe = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    for name in recipe:
        if name not in COMMANDS:
            near = nearest(name, COMMANDS)
            raise UsageError(f"{path}: [{name}] is no command{f'; did you mean [{near}]?' if near else ''}")
    if len(recipe) != 1:
        raise UsageError(f"{path}: it must hold one table of settings, such as [evolve]")
    ((command, settings),) = recipe.items()
    if not isinstance(settings, dict):
        raise UsageError(f"{path}: {command} must be a table, [{command}]")
    return command, settings
