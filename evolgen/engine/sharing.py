"""Several runs on one store, on one machine: what one of them is asking right now the others wait for.

Who is at work stands in a small SQLite file beside the store, which is never waited for: should it be lost, or not be
writable, a question may be paid twice, and nothing else happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

BEAT = 2.0
"""Seconds between two signs of life of a run."""

VOID = 10.0
"""Seconds without a sign of life after which a run counts as dead, and asks nothing any more."""

LOOK, LONGEST_LOOK = 0.2, 5.0
"""Seconds until the first look at what another run is asking, and between the last ones: it may be a large batch."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, beat REAL NOT NULL, sharing INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS asking (key BLOB PRIMARY KEY, run TEXT NOT NULL) WITHOUT ROWID;
"""


class Sharing:
    """What a run is asking, for others to see, and what others are asking.

    As long as a run is alone it writes nothing but its signs of life. Once it sees `others` it writes down what it is
    asking; a new run waits until all others do.
    """

    def __init__(self, store: Path | None) -> None:
        """Beside a store; None where nobody else can see it."""
        self._path = None if store is None else store.absolute().with_name(f"{store.name}-live")
        self._run = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._db: sqlite3.Connection | None = None
        self._mine: set[bytes] = set()
        self.others = False
        self._joined = False
        self._joining = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None

    async def turn(
        self, key: bytes, stored: Callable[[], R | None], pause: Callable[[float], Awaitable[None]], timeout: float
    ) -> R | None:
        """Wait until it is our turn to ask a question; the answer, if another run got it meanwhile.

        After `timeout` seconds it is our turn in any case. `pause` waits, or raises what the run ends by.
        """
        await self._join_once(pause)
        until, look = time.monotonic() + timeout, LOOK
        self._mine.add(key)
        while True:
            claimed = self._claim(key)
            if self.others and (answer := stored()) is not None:  # it may have come just before the claim
                return answer
            if claimed or time.monotonic() >= until:
                return None
            await pause(look)
            look = min(1.5 * look, LONGEST_LOOK)

    async def claim(self, keys: Iterable[bytes], pause: Callable[[float], Awaitable[None]]) -> set[bytes]:
        """Those of some questions that no other run is asking: they are ours to ask, until they are `done`.

        Whoever then waits for one of the others should hold none, or two runs might wait for each other.
        """
        await self._join_once(pause)
        ours = {key for key in keys if self._claim(key)}
        self._mine |= ours
        return ours

    def done(self, key: bytes) -> None:
        """A question is asked no more."""
        self._mine.discard(key)
        if self.others and self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("DELETE FROM asking WHERE key = ? AND run = ?", (key, self._run))

    def close(self) -> None:
        """The run is over."""
        if self._beating is not None:
            self._beating.cancel()
        last = False
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("DELETE FROM asking WHERE run = ?", (self._run,))
                self._db.execute("DELETE FROM runs WHERE id = ?", (self._run,))
                last = not self._db.execute("SELECT count(*) FROM runs").fetchone()[0]
            self._db.close()
            if last and self._path is not None:
                self._path.unlink(missing_ok=True)

    def _claim(self, key: bytes) -> bool:
        """Say that we ask a question, unless another living run does."""
        if not self.others or self._db is None:
            return True
        try:
            claim = "INSERT INTO asking VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET run = excluded.run WHERE run = ? "
            dead = "OR run NOT IN (SELECT id FROM runs WHERE beat BETWEEN ? AND ?)"
            return self._db.execute(claim + dead, (key, self._run, self._run, *_living())).rowcount > 0
        except sqlite3.Error:
            return True

    async def _join_once(self, pause: Callable[[float], Awaitable[None]]) -> None:
        if not self._joined:
            async with self._joining:  # all wait until it is known what others ask
                if not self._joined:
                    await self._join(pause)
                    self._joined = True

    async def _join(self, pause: Callable[[float], Awaitable[None]]) -> None:
        if self._path is None:
            return
        try:
            self._db = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._db.executescript(f"PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; {SCHEMA}")
        except sqlite3.Error:
            self._path = None
            return
        self._beat()
        self._beating = asyncio.ensure_future(self._keep_beating())
        until = time.monotonic() + VOID
        while self.others and self._silent_others() and time.monotonic() < until:
            await pause(LOOK)

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self._beat()

    def _beat(self) -> None:
        """Give a sign of life, look for others, and show them what we ask."""
        assert self._db is not None
        with contextlib.suppress(sqlite3.Error):
            sign = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?)"
            self._db.execute(sign, (self._run, time.monotonic(), self.others))  # first: of two that begin, one sees
            self._db.execute("DELETE FROM runs WHERE beat NOT BETWEEN ? AND ?", _living())
            for (run,) in self._db.execute("SELECT id FROM runs").fetchall():
                if _is_dead(run):
                    self._db.execute("DELETE FROM runs WHERE id = ?", (run,))
            count = "SELECT count(*) FROM runs WHERE id != ?"
            others = self._db.execute(count, (self._run,)).fetchone()[0] > 0
            if others != self.others:
                self._db.execute("DELETE FROM asking WHERE run = ?", (self._run,))
                mine = [(key, self._run) for key in self._mine if others]
                self._db.executemany("INSERT OR IGNORE INTO asking VALUES (?, ?)", mine)
                self.others = others
                self._db.execute(sign, (self._run, time.monotonic(), others))

    def _silent_others(self) -> bool:
        """Whether a living run doesn't show yet what it asks."""
        assert self._db is not None
        with contextlib.suppress(sqlite3.Error):
            silent = "SELECT count(*) FROM runs WHERE id != ? AND NOT sharing AND beat BETWEEN ? AND ?"
            return bool(self._db.execute(silent, (self._run, *_living())).fetchone()[0])
        return False


def _is_dead(run: str) -> bool:
    """Whether a run's program is gone, as far as can be told without waiting."""
    host, pid, _ = run.rsplit(" ", 2)
    if host != socket.gethostname() or sys.platform == "win32":  # there signal 0 would end it
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _living() -> tuple[float, float]:
    """The times of a living run's last sign, by the clock that all programs on a machine share until it starts anew."""
    now = time.monotonic()
    return now - VOID, now + VOID
