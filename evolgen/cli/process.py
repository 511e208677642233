"""What belongs to the whole process, and so to the command line alone: signals, and how the interpreter is tuned."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator

from evolgen.cli.errors import STOPPED


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call `stop`, each time; the third ends a program that heard none of them."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    left = 2

    def hear(*_: object) -> None:
        nonlocal left
        if not left:
            os._exit(STOPPED)  # the run is busy without looking up; what was paid for is stored
        left -= 1
        stop()

    before = [signal.signal(number, hear) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Have the garbage collector look less often, and threads take turns sooner.

    The objects of a call live as long as the call, so the collector walks all calls in flight, and all modules,
    for nothing: it took a sixth of the time of a request. And the thread that commits answers waits for its turn
    several times a group, with calls in flight waiting for it: 30 ms a call at the usual 5 ms a turn.
    """
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()
    gc.set_threshold(20_000, *threshold[1:])
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
        gc.unfreeze()
