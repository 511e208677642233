"""Prompt templates: find, read and render them.

A template is a text file of sections, each begun by a line `=== system`, `=== user` or `=== assistant`.
`{name}` is filled in. What stands before the first such place is the same in all requests of one template, a prefix
that llama.cpp, vLLM and the paid APIs cache.

The shipped templates lie in prompts/ (inside the package once it is installed). A folder given with
`--prompts` overrides them file by file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evolgen.errors import UsageError
from evolgen.records import Message

_SECTION = re.compile(r"^=== *(system|user|assistant) *$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Template:
    """One prompt; `digest` is the first 12 hex digits of the sha256 of its file."""

    name: str
    digest: str
    messages: tuple[Message, ...]
    placeholders: frozenset[str]

    def render(self, **values: str) -> tuple[Message, ...]:
        """The messages with their placeholders filled in, in one pass.

        A value that looks like a placeholder itself is left alone, and so is a name without a value.
        """
        return tuple((role, _PLACEHOLDER.sub(lambda m: values.get(m[1], m[0]), text)) for role, text in self.messages)


def parse_template(name: str, source: str) -> Template:
    """Read a template; raises UsageError if it has no sections or doesn't end with the user's turn.

    >>> parse_template("hi", "=== user\\nSay {what}\\n").render(what="hi {what}")
    (('user', 'Say hi {what}'),)
    """
    parts = _SECTION.split(source)
    if parts[0].strip() or len(parts) == 1:
        raise UsageError(f"template {name}: it must begin with a line such as '=== system'")
    messages = tuple((role, text.strip()) for role, text in zip(parts[1::2], parts[2::2], strict=True))
    if messages[-1][0] != "user":
        raise UsageError(f"template {name}: its last section must be '=== user'")
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    placeholders = frozenset(_PLACEHOLDER.findall("\n".join(text for _, text in messages)))
    return Template(name, digest, messages, placeholders)


def shipped() -> Path:
    """The folder of the templates that came with evolgen."""
    package = Path(__file__).parent
    installed = package / "_prompts"
    return installed if installed.is_dir() else package.parent / "prompts"


class PromptLibrary:
    """The templates of one run: the shipped ones, overridden by those in `folder`."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--prompts {folder}: no such folder")
        self._folders = [shipped()] if folder is None else [folder, shipped()]

    def load(self, name: str, needs: Iterable[str] = ()) -> Template:
        """The template `name`, such as "evol_instruct/deepen"; raises UsageError if it lacks a placeholder."""
        for folder in self._folders:
            path = folder / f"{name}.txt"
            if path.is_file():
                template = parse_template(name, _read(path))
                break
        else:
            raise UsageError(f"there is no prompt template {name}.txt in {' or '.join(map(str, self._folders))}")
        for placeholder in needs:
            if placeholder not in template.placeholders:
                raise UsageError(f"template {path}: it must contain {{{placeholder}}}")
        return template

    def names(self, group: str) -> list[str]:
        """The names of all templates of a group, sorted."""
        return sorted({path.stem for folder in self._folders for path in (folder / group).glob("*.txt")})


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"template {path}: can't be read ({error})") from error
