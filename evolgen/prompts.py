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
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from evolgen.errors import UsageError, nearest
from evolgen.records import Message

OPEN_GROUPS = ("evol_instruct",)
"""Groups to which a folder of one's own may add: each of their templates is an operator."""

_SECTION = re.compile(r"^=== *(system|user|assistant) *$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Template:
    """One prompt; `digest` is the first 12 hex digits of the sha256 of its file, `own` tells that it isn't shipped."""

    name: str
    digest: str
    messages: tuple[Message, ...]
    placeholders: frozenset[str]
    own: bool = False

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
    """The templates of one run: the shipped ones, overridden by those in `folder`.

    There further ones of a group in OPEN_GROUPS may stand, too. A file that is neither is taken for a mistake, and so
    is a name that is nearly a shipped one's, unless it is among those that are `named` on purpose.
    """

    def __init__(self, folder: Path | None = None, named: Collection[str] = ()) -> None:
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--prompts {folder}: no such folder")
        self._folders = [shipped()] if folder is None else [folder, shipped()]
        if folder is not None:
            _check_folder(folder, named)

    def load(self, name: str, needs: Iterable[str] = ()) -> Template:
        """The template `name`, such as "evol_instruct/deepen"; raises UsageError if it lacks a placeholder."""
        for folder in self._folders:
            path = folder / f"{name}.txt"
            if path.is_file():
                template = replace(parse_template(name, _read(path)), own=folder != shipped())
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


def _check_folder(folder: Path, named: Collection[str]) -> None:
    """Raise UsageError for a file in a folder of templates that would be used by nothing."""
    known = {path.relative_to(shipped()).with_suffix("").as_posix() for path in shipped().rglob("*.txt")}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") or "~" in part for part in inside.parts):
            continue
        name = inside.with_suffix("").as_posix()
        if path.suffix == ".txt" and name in known:
            continue
        group, _, own = name.rpartition("/")
        if path.suffix != ".txt" or group not in OPEN_GROUPS:
            near = nearest(name, known)
            hint = f"; did you mean {near}.txt?" if near else ""
            raise UsageError(
                f"--prompts {path}: it overrides no template{hint} (an operator of your own is evol_instruct/NAME.txt)"
            )
        near = next((each for each in known if each.startswith(f"{group}/") and _letters_apart(name, each) <= 2), None)
        if near is not None and own not in named:
            raise UsageError(
                f"--prompts {path}: did you mean {near}.txt? If it is an operator of your own, name it in --operators"
            )


def _letters_apart(one: str, other: str) -> int:
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(one, other))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"template {path}: can't be read ({error})") from error
