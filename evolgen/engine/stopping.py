"""Stopping what is under way, asked from any thread: cleanly at first, at once the second time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from evolgen.engine.ending import Ending
from evolgen.errors import GO_ON, Interrupted

if TYPE_CHECKING:
    from evolgen.engine.ask import Asker


class StopSwitch:
    """Counts how often it was asked to stop, and tells those who listen.

    The lock may be taken again by the thread that holds it: a signal comes in the middle of anything.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._listeners: list[Callable[[int], None]] = []
        self._lock = threading.RLock()

    def ask(self) -> None:
        """Ask for an end."""
        with self._lock:
            self._asked += 1
            for listener in self._listeners:
                listener(self._asked)

    def check(self) -> None:
        """Raise Interrupted if an end was asked for: for work that goes on without a loop."""
        if self._asked:
            raise Interrupted("interrupted; nothing was written, and running the same command again does it all")

    @contextlib.contextmanager
    def heard_by(self, listener: Callable[[int], None]) -> Iterator[None]:
        """Tell a listener how often an end was asked for, each time, also if that was before it came."""
        with self._lock:
            self._listeners.append(listener)
            if self._asked:
                listener(self._asked)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


@contextlib.contextmanager
def stopped_by(switch: StopSwitch, asker: Asker) -> Iterator[None]:
    """Let the switch end an asker: calls in flight finish. Asked twice, it cancels the task that is running here."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def hear(times: int) -> None:
        if times == 1:
            loop.call_soon_threadsafe(asker.end, Ending.by(Interrupted(f"interrupted; {GO_ON}")))
        elif task is not None:
            loop.call_soon_threadsafe(task.cancel)

    with switch.heard_by(hear):
        yield
