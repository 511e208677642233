"""Lists that a teacher wrote as plain text -> pieces; each reader says where one entry ends and the next begins."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from evolgen.parsing import says_no_input

Entry: TypeAlias = tuple[str, ...]


class Unread(NamedTuple):
    """A piece of an answer that could not be read, and why."""

    text: str
    reason: str


Piece: TypeAlias = Entry | Unread


def _line(pattern: str) -> re.Pattern[str]:
    """A mark at the beginning of a line, plain or as markdown has it."""
    return re.compile(rf"^[ \t]*(?:[#*]+[ \t]*)?{pattern}", re.IGNORECASE | re.MULTILINE)


_COLON = r"[ \t]*(?:\*\*)?:(?:\*\*)?[ \t]*"
_NUMBER = _line(r"(?:Task[ \t]+)?(\d{1,4})[ \t]*[.):](?=[\s*]|\Z)[ \t*]*")
_FIELD = _line(rf"(\d{{1,4}}[ \t]*[.)][ \t*]*)?(Instruction|Input|Output){_COLON}")
_EXAMPLE = _line(r"(?:Example|Instance)[ \t]*#?\d*[ \t]*[.:]?[ \t*]*$")
_INPUT = _line(rf"Input(?:[ \t]+\d+)?{_COLON}")
_OUTPUT = _line(rf"Output(?:[ \t]+\d+)?{_COLON}")
_LABEL = _line(rf"(?:Class[ \t]+)?Label{_COLON}")
_SEPARATORS = re.compile(r"(?:\A|\n)(?:[ \t]*#{3,}[ \t]*(?:\n|\Z))+\s*\Z")


def unread(text: str, reason: str) -> Iterator[Unread]:
    """A piece that could not be read, unless there is nothing to read."""
    if text := text.strip():
        yield Unread(text, reason)


def checked(fields: Sequence[str], texts: Sequence[str], source: str) -> Piece:
    """An entry, if it has what it can't be without; an input that says that there is none becomes empty."""
    named = {name: text.strip() for name, text in zip(fields, texts, strict=True)}
    for name in ("instruction", "label"):
        if named.get(name) == "":
            return Unread(source.strip(), f"its {name} is empty")
    if says_no_input(named.get("input", "")):
        named["input"] = ""
    return tuple(named.values())


def numbered(text: str) -> Iterator[Piece]:
    r"""Numbered texts, from whichever number on; a number out of turn belongs to the text in which it stands.

    >>> list(numbered("9. Name the year: 2015 or\n2016.\n10. Sort:\n1. a\n11.\n"))
    [('Name the year: 2015 or\n2016.',), ('Sort:\n1. a',), Unread(text='11.', reason='its instruction is empty')]
    """
    marks: list[re.Match[str]] = []
    for mark in _NUMBER.finditer(text):
        if not marks or int(mark[1]) == int(marks[-1][1]) + 1:
            marks.append(mark)
    yield from unread(*_before(text, marks, "number"))
    for mark, end in _spans(marks, text):
        yield checked(("instruction",), (text[mark.end() : end],), text[mark.start() : end])


def tasks(text: str) -> Iterator[Piece]:
    r"""Tasks of Instruction, Input and Output, each on a line of its own; numbered throughout, or not at all.

    >>> list(tasks("4. Instruction: Double it.\n4. Input:\n2\n4. Output:\n4\n###\n5. Instruction: Wait"))
    [('Double it.', '2', '4'), Unread(text='5. Instruction: Wait', reason='it has no output')]
    """
    marks = list(_FIELD.finditer(text))
    marks = [mark for mark in marks if bool(mark[1]) == bool(marks[0][1])]
    starts = [mark for mark in marks if mark[2].lower() == "instruction"]
    before, reason = _before(text, starts, "instruction")
    yield from unread(_SEPARATORS.sub("", before), reason)
    for start, end in _spans(starts, text):
        fields = {"instruction": start}
        for mark in marks:
            name = mark[2].lower()
            if start.end() <= mark.start() < end and name not in fields and "output" not in fields:
                fields[name] = mark
        source = _SEPARATORS.sub("", text[start.start() : end])
        if "output" not in fields:
            yield Unread(source.strip(), "it has no output")
            continue
        ends = [*(mark.start() for mark in fields.values()), start.start() + len(source)][1:]
        texts = {name: text[mark.end() : stop] for (name, mark), stop in zip(fields.items(), ends, strict=True)}
        names = ("instruction", "input", "output")
        yield checked(names, [texts.get(name, "") for name in names], source)


def instances(text: str) -> Iterator[Piece]:
    r"""Instances, each an input and an "Output:"; what has no such mark is an output alone.

    >>> list(instances("Example 1\nInput: 2\nOutput: 4\n\nExample 2\nSentence: hi\nOutput: ho"))
    [('2', '4'), ('Sentence: hi', 'ho')]
    >>> list(instances("The Danube."))
    [('', 'The Danube.')]
    """
    marks: list[re.Match[str]] = list(_EXAMPLE.finditer(text))
    cuts = [(mark.start(), mark.end()) for mark in marks] or [(at, at) for at in _further_inputs(text)]
    edges = [(0, 0), *cuts, (len(text), len(text))]
    for (start, inside), (end, _) in itertools.pairwise(edges):
        body, source = text[inside:end], text[start:end]
        output, input = _OUTPUT.search(body), _INPUT.match(body.lstrip())
        if not body.strip():
            yield from unread(source, "it is empty")
        elif output is not None:
            before = body[: output.start()]
            yield checked(("input", "output"), (_INPUT.sub("", before.strip(), count=1) if input else before,
                                                body[output.end() :]), source)  # fmt: skip
        elif input or (start == 0 and marks):
            yield Unread(source.strip(), "it has no output")
        else:
            yield ("", body.strip())


def labelled(text: str) -> Iterator[Piece]:
    r"""Instances of a classification, each a label on its line and an input below it.

    >>> list(labelled("Label: good\nInput: I like it.\n\nClass label: bad\nNever again."))
    [('good', 'I like it.'), ('bad', 'Never again.')]
    """
    marks = list(_LABEL.finditer(text))
    yield from unread(*_before(text, marks, "label"))
    for mark, end in _spans(marks, text):
        label, _, input = text[mark.end() : end].partition("\n")
        yield checked(("label", "input"), (label, _INPUT.sub("", input.strip(), count=1)), text[mark.start() : end])


def _before(text: str, marks: Sequence[re.Match[str]], what: str) -> tuple[str, str]:
    """What stands before the first mark, and why it can't be read."""
    return (text[: marks[0].start()], f"it stands before the first {what}") if marks else (text, f"it has no {what}")


def _spans(marks: Sequence[re.Match[str]], text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Each mark, with the end of what belongs to it."""
    for mark, after in itertools.zip_longest(marks, marks[1:]):
        yield mark, after.start() if after else len(text)


def _further_inputs(text: str) -> list[int]:
    """Where an "Input:" begins a new instance: those that follow an output."""
    found, after = [], 0
    while (output := _OUTPUT.search(text, after)) and (input := _INPUT.search(text, output.end())):
        found.append(input.start())
        after = input.end()
    return found
