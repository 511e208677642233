"""How a command ends that went wrong: one line on stderr and its exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

import typer

from evolgen.errors import EvolgenError, Interrupted, Stopped
from evolgen.records import inert

WRONG = 2
"""The command or its input is wrong; nothing was asked."""

STOPPED = 3
"""It ended early, and the same command goes on from there."""


@contextlib.contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Turn an error of ours into one line on stderr and its exit code."""
    try:
        yield
    except (EvolgenError, KeyboardInterrupt) as error:
        if debug:
            print(inert("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        ours = error if isinstance(error, EvolgenError) else Interrupted("stopped at once")
        print(inert(f"evolgen: {ours}"), file=sys.stderr)
        raise typer.Exit(STOPPED if isinstance(ours, Stopped) else WRONG) from None
