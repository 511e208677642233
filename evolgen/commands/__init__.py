"""The commands: one file each, and here the one table of them all. The only place where objects are wired together.

The command line, recipes, the Python functions, estimates, the docs' lists of flags and the tests read this table.
"""

from __future__ import annotations

from typing import Any

from evolgen.commands.command import Command
from evolgen.commands.decontaminate import DECONTAMINATE
from evolgen.commands.dedupe import DEDUPE
from evolgen.commands.evolve import EVOLVE
from evolgen.commands.filter import FILTER
from evolgen.commands.respond import RESPOND
from evolgen.commands.run import RUN
from evolgen.commands.self_instruct import SELF_INSTRUCT

COMMANDS: dict[str, Command[Any]] = {
    command.name: command
    for command in (
        EVOLVE,
        SELF_INSTRUCT,
        RESPOND,
        FILTER,
        DEDUPE,
        DECONTAMINATE,
        RUN,
    )
}
