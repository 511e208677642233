"""A run is a handle: it goes on in a thread of its own, and can be watched, waited for and stopped from any other."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import sys
import threading
import uuid
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from evolgen.engine.stopping import StopSwitch
from evolgen.events import Event, Notice, Observer
from evolgen.records import inert

S = TypeVar("S")

UNREAD = 10_000
"""Events that are kept until somebody reads them; what comes while so many are unread is dropped and counted."""


_under_way: set[Run[Any]] = set()
"""The runs that have not ended, which a program that ends waits for."""


class Unread:
    """The events of a run that nobody has read yet, from the thread that tells them to those that read."""

    def __init__(self) -> None:
        self.dropped = 0
        self._events: deque[Event] = deque()
        self._ended = False
        self._changed = threading.Condition()
        self._readers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def __call__(self, event: Event) -> None:
        with self._changed:
            if len(self._events) < UNREAD:
                self._events.append(event)
                self._wake()
            else:
                self.dropped += 1

    def end(self) -> None:
        """No further event will come."""
        with self._changed:
            self._ended = True
            self._wake()

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._changed:
                while not self._events and not self._ended:
                    self._changed.wait(1.0)  # now and then, so that Ctrl-C is heard everywhere
                if not self._events:
                    return
                event = self._events.popleft()
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                event = self._events.popleft() if self._events else None
                if event is None:
                    if self._ended:
                        return
                    reader = (loop, loop.create_future())
                    self._readers.append(reader)
            if event is not None:
                yield event
                continue
            try:
                await reader[1]
            finally:
                with self._changed, contextlib.suppress(ValueError):  # it is there still if the reader was cancelled
                    self._readers.remove(reader)

    def _wake(self) -> None:
        self._changed.notify_all()
        readers, self._readers = self._readers, []
        for loop, changed in readers:
            with contextlib.suppress(RuntimeError):  # a loop that was closed meanwhile
                loop.call_soon_threadsafe(_settle, changed)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Run(Generic[S]):
    """A command under way. It goes on whether or not anybody watches.

    `async for event in run`, or `for event in run.events()`, gives its events; the first 10,000 unread ones are kept,
    later ones dropped and counted in `dropped`. `summary` is None until the end. An observer that raises is named once,
    in a warning and a Notice, and called no more.
    """

    def __init__(self, observer: Observer | None = None, *, watched: bool = True) -> None:
        """With `watched` false no events are kept, for nobody has the handle to read them."""
        self.id = uuid.uuid4().hex[:8]
        self.summary: S | None = None
        self.stopping = StopSwitch()
        self._observer = observer
        self._unread = Unread()
        self._watched = watched
        self._outcome: Future[S] = Future()
        self._thread: threading.Thread | None = None
        self._fate = _Fate()
        weakref.finalize(self, self._fate.tell, self.id)

    def begin(self, work: Callable[[], S]) -> None:
        """Do the work in a thread; what it returns is the summary, what it raises is raised by `result` and `wait`.

        A program that ends meanwhile waits for it.
        """
        _wait_at_exit()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._do, work), name=f"evolgen-run-{self.id}")
        _under_way.add(self)
        try:
            self._thread.start()
        except BaseException as error:  # no thread to be had, or Ctrl-C, after which it may be under way all the same
            self.stop()
            if not isinstance(error, KeyboardInterrupt):
                _under_way.discard(self)
            raise

    def stop(self) -> None:
        """Stop as Ctrl-C does: calls in flight finish and are stored. The second time it stops at once.

        May be called from any thread, and from a signal handler.
        """
        self.stopping.ask()

    def result(self) -> S:
        """Wait for the end; returns the summary, also of a run that was stopped.

        Raises EvolgenError where the command or its input turned out to be wrong. Ctrl-C stops the run, each time, and
        goes on as KeyboardInterrupt once that has ended.
        """
        self._refuse_waiting_for_itself()
        interrupted = self._ended()
        self._fate.problem = None
        if interrupted:
            raise KeyboardInterrupt
        return self._outcome.result()

    async def wait(self) -> S:
        """`result`, without blocking the event loop; a task that is cancelled waits no more, and the run goes on."""
        try:
            return await asyncio.shield(asyncio.wrap_future(self._outcome))
        finally:
            if self._outcome.done():
                self._fate.problem = None

    @property
    def dropped(self) -> int:
        """Events that came while too many were unread."""
        return self._unread.dropped

    def events(self) -> Iterator[Event]:
        """The events as they come, until the end; for where there is no event loop."""
        self._refuse_waiting_for_itself()
        return iter(self._unread)

    def __aiter__(self) -> AsyncIterator[Event]:
        return aiter(self._unread)

    def tell(self, event: Event) -> None:
        """Hand an event to all who watch."""
        if self._watched:
            self._unread(event)
        if self._observer is None:
            return
        try:
            self._observer(event)
        except BaseException as error:
            name = getattr(self._observer, "__qualname__", type(self._observer).__qualname__)
            self._observer = None
            problem = f"the observer {name} raised {type(error).__name__} ({error}): it is called no more"
            self.tell(Notice(problem).told_by(self.id, event.stage))
            with contextlib.suppress(RuntimeWarning):  # where warnings are errors
                warnings.warn(problem, RuntimeWarning, stacklevel=2)

    def _ended(self) -> bool:
        """Wait for the end; each Ctrl-C meanwhile stops the run. Tells whether there was one."""
        interrupted = False
        while not self._outcome.done():
            try:
                self._outcome.exception()
            except KeyboardInterrupt:
                interrupted = True
                self.stop()
        return interrupted

    def _refuse_waiting_for_itself(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("an observer can't wait for its own run: the run waits for the observer")

    def _do(self, work: Callable[[], S]) -> None:
        try:
            self.summary = work()
        except BaseException as error:
            self._fate.problem = f"{type(error).__name__}: {error}"
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(self.summary)
        finally:
            _under_way.discard(self)
            self._unread.end()


class _Fate:
    """What a run failed with, in words, until somebody is told: an error would hold on to the run."""

    def __init__(self) -> None:
        self.problem: str | None = None

    def tell(self, id: str) -> None:
        """Say it where nobody asked for the outcome."""
        if self.problem is not None:
            problem = inert(self.problem)
            print(f"evolgen: run {id} failed, and nobody asked for its result: {problem}", file=sys.stderr)


@functools.cache
def _wait_at_exit() -> None:
    """Have the program wait for its runs before the interpreter takes their threads' pools away."""
    import concurrent.futures.thread  # noqa: F401  # whose own exit was registered when it was imported: ours comes first

    threading._register_atexit(_finish)  # type: ignore[attr-defined]  # `atexit` is too late: pools are gone by then


def _finish() -> None:
    for run in list(_under_way):
        run._ended()
