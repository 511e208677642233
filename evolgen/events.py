"""What happens in a run, told to whoever watches it, as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from pydantic import BaseModel

from evolgen.errors import EvolgenError, TeacherError
from evolgen.records import Record, Rejection
from evolgen.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened: `run` is the id of the run that tells it, `stage` its command (of a chain numbered)."""

    run: str = ""
    stage: str = ""

    def told_by(self, run: str, stage: str) -> Event:
        """This event, with who tells it: filled in before anybody sees it, for a copy costs more than all else."""
        object.__setattr__(self, "run", run)
        object.__setattr__(self, "stage", stage)
        return self

    def to_json(self) -> str:
        """The event as a JSON object: its name, its fields, errors by rule and message.

        >>> print(Asked("answer", 1, run="a1", stage="respond").to_json())
        {"event": "asked", "run": "a1", "stage": "respond", "role": "answer", "attempt": 1}
        """
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        text = json.dumps({"event": type(self).__name__.lower()} | values, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate is no text, but has an escape


Observer: TypeAlias = Callable[[Event], None]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, TeacherError):
        return {"rule": value.rule, "message": str(value)}
    if isinstance(value, EvolgenError):
        return {"message": str(value)}
    if isinstance(value, Usage):
        return value._asdict()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """The work begins: it is to give `rows` accepted rows, or (without a target) `candidates` candidates."""

    candidates: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """A call goes out to a teacher in a role; `attempt` counts from 1."""

    role: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """A call failed; it is made again unless `final`."""

    role: str
    error: TeacherError
    final: bool


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """A call's answer, by a model, is in the store.

    `usage` is the endpoint's count of tokens, `usd` what they cost; None where there is no count, or no price.
    `answers` is how many questions it answers: one call asks for the embeddings of many texts.
    """

    role: str
    model: str
    usage: Usage | None
    usd: float | None
    answers: int = 1


@dataclass(frozen=True, slots=True)
class Replayed(Event):
    """An answer came from the store, where it has been since `created` (seconds since 1970).

    `usd` is what it cost an earlier run; None where that is unknown, 0 where this run paid it and has told so.
    """

    role: str
    created: float
    usd: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Committed(Event):
    """A row has its place in the output, accepted or rejected.

    `answers` is how many answers it needed beyond those that it shares with the row before it in its lineage.
    """

    row: Record
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Kept(Event):
    """So many more rows of the input are kept as they came; the first few of all are shown."""

    rows: int
    first: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Masked(Event):
    """In a row that is kept something was masked."""


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A row of the input is rejected."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Working(Event):
    """How far a step has come: `done` of `total` rows, where the total is known. Told now and then, not for each."""

    doing: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class StopRequested(Event):
    """The run will end early; calls in flight finish first if it `waits`."""

    reason: EvolgenError
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that a person should know, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Fetching(Event):
    """A local model is being fetched; `done` and `total` are bytes."""

    name: str
    done: int
    total: int
