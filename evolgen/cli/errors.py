"""How a command ends that went wrong: one line on stderr and its exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

import typer

from evolgen.errors import EvolgenError, Interrupted, Stopped

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
            traceback.print_exception(error)
        ours = error if isinstance(error, EvolgenError) else Interrupted("stopped at once")
        print(f"evolgen: {ours}", file=sys.stderr)
        raise typer.Exit(STOPPED if isinstance(ours, Stopped) else WRONG) from None
