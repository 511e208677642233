"""Recipes: the settings of a command in a TOML file, or of several commands that run one after the other."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evolgen.errors import UsageError, nearest


@dataclass(frozen=True)
class Recipe:
    """What a recipe says: `shared` settings, and the tables named after commands, in their order.

    With one table it is that command; with several it is a chain, in which each takes what the one before it gave.
    """

    path: Path
    shared: dict[str, Any]
    tables: dict[str, dict[str, Any]]

    def overridden(self, settings: Mapping[str, Any]) -> Recipe:
        """The same with settings that go before its own; with a dot in its name, one is of a single command."""
        shared = dict(self.shared)
        tables = {name: dict(table) for name, table in self.tables.items()}
        for path, value in settings.items():
            command, _, name = path.rpartition(".")
            if command and command not in tables:
                raise UsageError(f"{self.path}: --set {path}: the recipe has no table [{command}]")
            for table in [tables[command]] if command else tables.values():
                if command:
                    table[name] = value
                else:
                    table.pop(name, None)
            if not command:
                shared[name] = value
        return replace(self, shared=shared, tables=tables)

    def below(self, defaults: Mapping[str, Mapping[str, Any]]) -> Recipe:
        """The same above the defaults of each of its commands."""
        tables = {}
        for command, table in self.tables.items():
            known = {name: value for name, value in defaults[command].items() if name not in self.shared}
            tables[command] = known | table
        return replace(self, tables=tables)

    @property
    def is_chain(self) -> bool:
        return len(self.tables) > 1

    def single(self) -> tuple[str, dict[str, Any]]:
        """The command of a recipe with one table, and its settings."""
        ((command, settings),) = self.tables.items()
        return command, self.shared | settings


def read_recipe(path: Path, commands: Collection[str]) -> Recipe:
    """Read a recipe of some of these commands; raises UsageError for anything that is none.

    Paths in it are relative to the folder that the command is run in, as they would be on the command line.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    for name in tables:
        if name not in commands:
            near = nearest(name, commands)
            raise UsageError(f"{path}: [{name}] is no command{f'; did you mean [{near}]?' if near else ''}")
    shared = {name: value for name, value in content.items() if name not in tables}
    for name in shared:
        if name in commands:
            raise UsageError(f"{path}: {name} must be a table, [{name}]")
    if not tables:
        raise UsageError(f"{path}: it must hold a table of settings, such as [evolve]")
    return Recipe(path, shared, tables)
