"""Signals of the command line: two are heard by the run, the third ends a program that is too busy to listen."""

from __future__ import annotations

import subprocess
import sys

DEAF = """
import os, signal
from evolgen.cli.process import stopping_on_signals
with stopping_on_signals(lambda: print("stop", flush=True)):
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))
    print("still here")
"""


def test_the_third_signal_ends_a_program_that_heard_none() -> None:
    done = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "stop\nstop\n")
