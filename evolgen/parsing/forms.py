"""Lists of tasks and instances in the two forms in which a teacher writes them: JSON, and plain text.

A form writes demonstrations and reads answers. What it reads are pieces, in the answer's order: an entry, which is a
tuple of texts, or an `Unread` with the text that could not be read, so that nothing of an answer is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from evolgen.parsing import lists
from evolgen.parsing.lists import Entry, Piece, Unread, unread

_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n|\n?```\s*\Z")


@dataclass(frozen=True)
class Form:
    """A list of entries: in JSON an object whose array `name` holds them, in text as `write` and `scan` have it.

    `fields` are the names of an entry's texts; an entry of one text is a bare string in JSON. `write` takes the number
    of an entry and its texts; `between` is what stands between two entries. `example` makes an entry of some words.
    """

    name: str
    fields: tuple[str, ...]
    write: Callable[..., str]
    between: str
    scan: Callable[[str], Iterator[Piece]]
    example: Callable[[str], Entry]

    def schema(self, most: int) -> dict[str, Any]:
        """The JSON schema of a list of at most so many entries."""
        text = {"type": "string"}
        entry = text if len(self.fields) == 1 else _object(dict.fromkeys(self.fields, text))
        return _object({self.name: {"type": "array", "items": entry, "maxItems": most}})

    def as_json(self, entries: Iterable[Entry]) -> str:
        """Demonstrations as the JSON that is wanted."""
        bare = len(self.fields) == 1
        values = [entry[0] if bare else dict(zip(self.fields, entry, strict=True)) for entry in entries]
        return json.dumps({self.name: values}, ensure_ascii=False)

    def as_text(self, entries: Iterable[Entry]) -> str:
        """Demonstrations as text, numbered from 1."""
        return self.between.join(self.write(number, *entry) for number, entry in enumerate(entries, start=1))

    def read(self, text: str, *, cut: bool = False) -> list[Piece]:
        """The pieces of an answer, whichever form it has; of one that was `cut`, the last entry is unread.

        >>> INSTRUCTIONS.read('{"tasks": ["Name a river.", 5, "Sort th', cut=True)
        [('Name a river.',), Unread(text='5', reason='it has no instruction'), \
Unread(text='"Sort th', reason='it breaks off, or is not JSON')]
        """
        found = re.search(rf'\{{\s*"{self.name}"\s*:\s*\[|\A\s*(?:```(?:json)?\s*)?\[(?=\s*["{{])', text)
        if found is not None:
            return list(self._read_json(text, found.start(), found.end()))
        pieces = list(self.scan(text))
        if cut and pieces and not isinstance(pieces[-1], Unread):
            pieces[-1] = Unread(self.write(len(pieces), *pieces[-1]), "the answer was cut in it")
        return pieces

    def _read_json(self, text: str, start: int, at: int) -> Iterator[Piece]:
        yield from unread(_FENCE.sub("", text[:start] + "\n"), "it stands before the list")
        decoder = json.JSONDecoder(strict=False)  # a line end inside a string is no reason to lose it
        while True:
            while text[at : at + 1] in tuple(" \t\r\n,"):
                at += 1
            if text[at : at + 1] == "]":
                rest = _FENCE.sub("", text[at + 1 :]).strip()
                yield from unread(rest.removeprefix("}"), "it stands after the list")
                return
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                yield from unread(text[at:], "it breaks off, or is not JSON")
                return
            yield self._entry(value, text[at:end])
            at = end

    def _entry(self, value: Any, source: str) -> Piece:
        if isinstance(value, str) and len(self.fields) == 1:
            value = {self.fields[0]: value}
        if not isinstance(value, dict) or not value.keys() & set(self.fields):
            return Unread(source, f"it has no {' and '.join(self.fields)}")
        if strange := value.keys() - set(self.fields):
            return Unread(source, f"it has a field that was not asked for: {min(strange)}")
        return lists.checked(self.fields, [_plain(value.get(field)) for field in self.fields], source)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_instruction(number: int, instruction: str) -> str:
    return f"{number}. {instruction}"


def _write_task(number: int, instruction: str, input: str, output: str) -> str:
    return (
        f"{number}. Instruction: {instruction}\n{number}. Input:\n{input or '<noinput>'}\n{number}. Output:\n{output}"
    )


def _write_instance(number: int, input: str, output: str) -> str:
    return f"Example {number}\n{f'Input: {input}{chr(10)}' if input else ''}Output: {output}"


def _write_labelled(number: int, label: str, input: str) -> str:
    return f"Label: {label}\nInput: {input}"


INSTRUCTIONS = Form(
    "tasks", ("instruction",), _write_instruction, "\n", lists.numbered, lambda words: (f"Explain {words}.",)
)
TASKS = Form(
    "tasks", ("instruction", "input", "output"), _write_task, "\n###\n", lists.tasks,
    lambda words: (f"Explain {words}.", "", "So."),
)  # fmt: skip
INSTANCES = Form(
    "instances", ("input", "output"), _write_instance, "\n\n", lists.instances, lambda words: (words, "one")
)
LABELLED = Form("instances", ("label", "input"), _write_labelled, "\n\n", lists.labelled, lambda words: ("one", words))


class MadeUp(Protocol):
    """What a made-up answer is made of.

    It is one that `fails` or not; in a list of tasks a share of so much is `repeated`, and a task has so many
    `instances`. `words(what)` are some that depend on nothing but the question and what they are for.
    """

    fails: bool
    repeated: float
    instances: int

    def words(self, what: object = "") -> str: ...


class AnswerForm(Protocol):
    """The form that the answer to a question is to have: enough to make one up, as an estimate does.

    Such an answer is about `texts` times as long as a single one in the same role.
    """

    @property
    def texts(self) -> int: ...

    def made_up(self, made: MadeUp, *, as_json: bool) -> str: ...


@dataclass(frozen=True)
class Choice:
    """One of two words, the second of which is that of failure."""

    good: str
    bad: str
    texts: int = 1

    def made_up(self, made: MadeUp, *, as_json: bool) -> str:
        return self.bad if made.fails else self.good


@dataclass(frozen=True)
class Rewriting:
    """A text that goes on from another."""

    text: str
    texts: int = 1

    def made_up(self, made: MadeUp, *, as_json: bool) -> str:
        return f"{self.text} {made.words()}."


@dataclass(frozen=True)
class Listing:
    """A list of tasks, as many as are asked for (`most`), or of one task's instances (None).

    As text it goes on after `lead`, with an entry of this number.
    """

    form: Form
    most: int | None
    lead: str = ""
    number: int = 1

    @property
    def texts(self) -> int:
        return 1 if self.most is None else len(self.form.fields)

    def made_up(self, made: MadeUp, *, as_json: bool) -> str:
        count = made.instances if self.most is None else self.most
        same = int(count * made.repeated) if self.most is not None else 0
        entries = [self.form.example(made.words("same" if at < same else at)) for at in range(count)]
        if as_json:
            return self.form.as_json(entries)
        text = self.form.between.join(self.form.write(at, *entry) for at, entry in enumerate(entries, self.number))
        return text.removeprefix(self.lead.rpartition("\n")[2])
