"""The command line in this very process: what it prints and the code that it ends with, without an interpreter's start.

Whatever is about the process itself (signals, kills, pipes, a terminal) starts a real one instead.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from unittest.mock import patch

from evolgen.cli.main import app


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def evolgen(*arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Done:
    """Run `evolgen ARGUMENTS` as on a screen of 80 columns; what would be a traceback is raised."""
    stdout, stderr = _stream(), _stream()
    code: object = 0
    with (
        patch.dict(os.environ, {"COLUMNS": "80", **(environment or {})}),
        patch("sys.stdin", _stream(stdin)),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            app(list(arguments), prog_name="evolgen")
        except SystemExit as end:
            code = end.code
    return Done(code if isinstance(code, int) else 0, _written(stdout), _written(stderr))


def _stream(content: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", write_through=True)


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
