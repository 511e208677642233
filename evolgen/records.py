"""What one line of a dataset is: `Record`, with its `Provenance` and, where it was turned down, its `Rejection`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Stage = Literal["input", "parse", "eliminate", "filter", "dedupe", "decontaminate", "select", "backend"]

Message = tuple[str, str]
"""A turn of a conversation: (role, content)."""

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_COMMANDS = re.compile(f"{UNPRINTABLE.pattern}|\r(?!\n)|[\u202a-\u202e\u2066-\u2069]")

MATCH_TEXT = 200
"""How many characters of a matched neighbour a rejection quotes."""


class Match(BaseModel):
    """The neighbour that made a row a duplicate.

    `source` is `out` for a row of the same output, `seeds` for a seed, else `FILE:LINE`.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    source: str
    text: str
    score: float


class Rejection(BaseModel):
    """Why a row is not in the dataset: the stage, the rule, and a sentence that a person understands."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    rule: str
    reason: str
    raw: str | None = None
    match: Match | None = None


class Provenance(BaseModel):
    """Where a row comes from.

    `model` is the teacher that wrote the row's last text, `sample` the pass over the seeds it was made in,
    `prompt` the first 12 hex digits of the sha256 of the evolving template, `requests` the first 16 hex
    digits of the keys of all requests made for this row, in the order they were made.
    """

    model_config = ConfigDict(frozen=True)

    pipeline: str
    operator: str
    round: int
    parents: tuple[str, ...] = ()
    root: str
    model: str = ""
    sample: int = 0
    prompt: str = ""
    requests: tuple[str, ...] = ()


class Turn(BaseModel):
    """One message of a conversation, as a row has it."""

    model_config = ConfigDict(frozen=True)

    role: str
    content: str


class Record(BaseModel):
    """One candidate: accepted when `rejection` is None.

    A conversation has `messages`; its `instruction` and `output` are then not written, as its turns hold them. `notes`
    are remarks for the run's statistics (such as `no_verdict`), and `grown_from` is the instruction that this one was
    made from, for eyes; neither is written.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    messages: tuple[Turn, ...] | None = None
    instruction: str
    input: str
    output: str
    provenance: Provenance
    rejection: Rejection | None = None
    notes: tuple[str, ...] = Field(default=(), exclude=True)
    grown_from: str = Field(default="", exclude=True)

    def to_line(self) -> bytes:
        """One JSON object and a newline, UTF-8, keys in the documented order."""
        exclude = None if self.messages is None else {"instruction", "input", "output"}
        return self.model_dump_json(exclude_none=True, exclude=exclude).encode() + b"\n"

    def rejected(self, stage: Stage, rule: str, reason: str, match: Match | None = None) -> Record:
        """The same row, turned down."""
        rejection = Rejection(stage=stage, rule=rule, reason=reason, match=match)
        return self.model_copy(update={"rejection": rejection})


class Seed(BaseModel):
    """An instruction to start a lineage from; `occurrence` counts equal seeds before this one.

    `output` is its answer where it came with one, `before` what belongs to it and was said before: a system message, a
    history.
    """

    model_config = ConfigDict(frozen=True)

    instruction: str
    input: str = ""
    output: str = ""
    occurrence: int = 0
    before: tuple[Message, ...] = ()

    @property
    def id(self) -> str:
        return Prompt(self.instruction, self.input, self.messages).id

    @property
    def messages(self) -> tuple[Message, ...] | None:
        """The question as a conversation, where something was said before."""
        return (*self.before, ("user", Prompt(self.instruction, self.input).text)) if self.before else None


class Prompt(NamedTuple):
    """A question to be answered: an instruction with its input, or a conversation up to the user's last turn.

    Of a conversation `instruction` is what its turns say, for rules and eyes.
    """

    instruction: str
    input: str = ""
    messages: tuple[Message, ...] | None = None

    @property
    def text(self) -> str:
        """A single question in one text."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction

    @property
    def id(self) -> str:
        return record_id(self.instruction, self.input) if self.messages is None else conversation_id(self.messages)


class Texts(NamedTuple):
    """What a row says, whatever its shape: what rules are tried on and near rows are told by.

    `output` is None where the row has no place for an answer at all (a file of prompts). `more` are the further
    (input, output) pairs of a Self-Instruct task with several instances. `context` is what else belongs to the
    question (a system message, a history, choices, the names of images), `refused` are answers that the row holds up
    as the worse ones. `asked` tells whether there is a question that can be read.
    """

    instruction: str
    input: str = ""
    output: str | None = None
    more: tuple[tuple[str, str | None], ...] = ()
    context: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    asked: bool = True


def record_id(instruction: str, input: str) -> str:
    """The name of a question: 16 hex digits of sha256(instruction + "\\x1f" + input).

    >>> record_id("Name a colour.", "")
    '335140a9f6959186'
    """
    return hashlib.sha256(f"{instruction}\x1f{input}".encode("utf-8", "backslashreplace")).hexdigest()[:16]


def conversation_id(messages: Iterable[Message]) -> str:
    """The name of a question that is a conversation: 16 hex digits of the sha256 of its messages in canonical JSON.

    >>> conversation_id([("user", "Name a colour.")])
    'f77cd7a9812af9b9'
    """
    turns = [{"content": content, "role": role} for role, content in messages]
    canonical = json.dumps(turns, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def printable(text: str) -> str:
    r"""The text with lone surrogates, which UTF-8 can't hold, written as escapes.

    >>> printable("a\ud800b")
    'a\\ud800b'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def inert(text: str) -> str:
    r"""The text for a terminal: what one would act upon instead of showing it is written as escapes.

    These are control characters (except tabs and line ends), those that turn the direction of writing, and what UTF-8
    can't hold.

    >>> print(inert("\x1b]0;a title\x07 and \u202ewords"))
    \x1b]0;a title\x07 and \u202ewords
    """
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def unprintable(text: str) -> str | None:
    r"""What makes a text unfit for a dataset, as a sentence, or None.

    Tabs and line ends are fine; other control characters and lone surrogates are not.

    >>> unprintable("a\tb\n") is None
    True
    >>> unprintable("a\x00b")
    'control character U+0000 at character 2'
    """
    bad = UNPRINTABLE.search(text)
    if bad is None:
        return None
    kind = "lone surrogate" if bad[0] >= "\ud800" else "control character"
    return f"{kind} U+{ord(bad[0]):04X} at character {bad.start() + 1}"
