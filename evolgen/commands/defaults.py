"""Settings for whatever is run in a folder: `evolgen.toml`, or `[tool.evolgen]` in pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evolgen.commands.command import Command, Defaults
from evolgen.errors import UsageError, nearest


def read_defaults(folder: Path, commands: Mapping[str, Command[Any]]) -> Defaults | None:
    """The defaults of a folder, None where it has none; raises UsageError for what no command knows."""
    for path, inside in ((folder / "evolgen.toml", ()), (folder / "pyproject.toml", ("tool", "evolgen"))):
        try:
            content: Any = tomllib.loads(path.read_text("utf-8-sig"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            if inside:
                continue  # a project's own file that is broken is no business of ours
            raise UsageError(f"{path}: it can't be read: {getattr(error, 'strerror', None) or error}") from error
        for name in inside:
            content = content.get(name, {}) if isinstance(content, dict) else {}
        if content:
            _check(path, content, commands)
            return Defaults(path, content)
    return None


def _check(path: Path, content: Mapping[str, Any], commands: Mapping[str, Command[Any]]) -> None:
    known = {name for command in commands.values() for name in command.config.model_fields}
    for name, value in content.items():
        if name in commands and isinstance(value, dict):
            fields = commands[name].config.model_fields
            wrong, among = next((key for key in value if key not in fields), None), list(fields)
        else:
            wrong, among = None if name in known else name, [*known, *commands]
        if wrong is not None:
            near = nearest(wrong, among)
            raise UsageError(f"{path}: {wrong}: there is no such setting{f'; did you mean {near}?' if near else ''}")
