"""Runs as handles, with what only tests set: the pauses between attempts."""

from __future__ import annotations

from typing import Any

from evolgen.commands import COMMANDS
from evolgen.commands.start import start
from evolgen.config import configured
from evolgen.engine.run import Run
from evolgen.report.summary import Summary


def started(
    command: str, *, script: Any = None, observer: Any = None, backoff: Any = None, **settings: Any
) -> Run[Summary]:
    """A command under way."""
    config = configured(COMMANDS[command].config, settings)
    return start(config, script=script, observer=observer, backoff=backoff)


async def run(command: str, **more: Any) -> Summary:
    """A command, to its end."""
    return await started(command, **more).wait()
