"""What a command is: a record in a file of its own, from which all that deals with commands is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from evolgen.report import closing
from evolgen.report.summary import Summary

if TYPE_CHECKING:
    from evolgen.backends.scripted import Script
    from evolgen.engine.run import Run
    from evolgen.pauses import Backoff

C = TypeVar("C", bound=BaseModel)

Work: TypeAlias = Callable[[], Summary]
"""What is left to do of a command once its settings and its input are known to be right; takes as long as it takes."""


@dataclass(frozen=True)
class Defaults:
    """Settings for whatever is run in a folder, from a file there: of all commands, and tables of one."""

    path: Path
    settings: Mapping[str, Any]

    def of(self, command: Command[Any]) -> dict[str, Any]:
        """Those of a command."""
        fields = command.config.model_fields
        own: Mapping[str, Any] = self.settings.get(command.name, {})
        return {name: value for name, value in self.settings.items() if name in fields} | dict(own)


@dataclass(frozen=True)
class Means:
    """What a command is carried out with, beside its settings.

    `run` is the handle of all, `name` that of the command and `stage` the one under which it tells its events. `script`
    answers in a teacher's place, `backoff` sets the pauses between attempts. `commands` is the table, for those that
    call others; `defaults` are settings from a file that stand below all others. `paid_for` is the output that budgets
    are for, where it isn't the command's own.
    """

    run: Run[Summary]
    commands: Mapping[str, Command[Any]]
    name: str
    stage: str
    script: Script | None = None
    backoff: Backoff | None = None
    defaults: Defaults | None = None
    paid_for: Path | None = None


@dataclass(frozen=True)
class Printout:
    """A flag that prints something and does nothing else."""

    help: str
    text: Callable[[], str]


@dataclass(frozen=True)
class Command(Generic[C]):
    """A command: what it is called, what it takes and how it is done.

    `reads` is the setting that names its input, an argument on the command line and the first in Python. `check` raises
    UsageError for settings that would fail only once it runs. `prepare` does all that can go wrong before the work
    begins, and raises UsageError; what it returns is the work. `closing` is what a person is shown at the end.
    """

    name: str
    help: str
    config: type[C]
    reads: str
    prepare: Callable[[C, Means], Work]
    check: Callable[[C], object] = lambda config: None
    closing: closing.Closing = closing.generation
    printouts: Mapping[str, Printout] = field(default_factory=dict)

    @property
    def function(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")
