"""The store of answers that were paid for: SQLite, one row an answer, keyed by the digest of the question.

Beside them it knows the batches that are under way: questions that were sent, and whose answers are still to come.

Answers are written in groups, one transaction and one fsync each. Reads are single look-ups (about 20
microseconds). Two processes may share a store: the first answer to a question stays, and both get that one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from evolgen.answers import KEY, Batch, Entry, Stored
from evolgen.errors import StoreError

APPLICATION_ID = 0x45564F4C  # "EVOL": tells a store from any other SQLite file
LOCK_SECONDS = 30.0
GROUP = 512
"""Answers in one transaction at the most; bounds how long a writer holds the file's lock."""


EXPLANATIONS = {
    "SQLITE_CORRUPT": "the file is damaged or not a store; move it away, or name another with --store",
    "SQLITE_NOTADB": "the file is damaged or not a store; move it away, or name another with --store",
    "SQLITE_FULL": "the disk is full; what was stored before is safe, free some space and run the command again",
    "SQLITE_BUSY": f"another process has held it for {LOCK_SECONDS:.0f} seconds; wait for it, or name another with "
    "--store",
    "SQLITE_CANTOPEN": "{error}; check the path and its permissions, or name another with --store",
    "SQLITE_READONLY": "{error}; check the path and its permissions, or name another with --store",
}
"""What is wrong and what to do, by the beginning of the name that SQLite gives an error."""


def _create(db: sqlite3.Connection) -> None:
    # not WITHOUT ROWID: answers of some kilobytes would lie in the tree of the keys, whose pages a write copies
    db.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL, created REAL NOT NULL)")


def _add_batches(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE batches (token TEXT PRIMARY KEY, id TEXT, endpoint TEXT NOT NULL, model TEXT NOT NULL, "
        "form TEXT NOT NULL, keys BLOB NOT NULL, created REAL NOT NULL)"
    )


def _add_leases(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE batches ADD COLUMN leased REAL NOT NULL DEFAULT 0")


def _add_payments(db: sqlite3.Connection) -> None:
    for column in ("paid_for TEXT", "tokens REAL", "usd REAL"):
        db.execute(f"ALTER TABLE answers ADD COLUMN {column}")
    # it holds all that a sum needs, which lies behind the texts otherwise
    db.execute("CREATE INDEX payments ON answers (paid_for, tokens, usd) WHERE paid_for IS NOT NULL")


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_create, _add_batches, _add_leases, _add_payments]
"""Each takes the schema one version up; the version is how many have been applied."""


class Store:
    """A store in a file, which is made if it isn't there. Raises StoreError in one sentence, never sqlite3's own.

    Any thread may write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()  # one thread stores answers, another notes batches
        self._place = path.absolute()  # whatever folder the program goes to meanwhile
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = self._open()
            self._writer = self._open()
            self._file = path.stat()
        except (sqlite3.Error, OSError) as error:
            raise self._failure("can't be opened", error) from error

    def get(self, key: bytes) -> Stored | None:
        """The answer to a question, or None."""
        try:
            return self._select(self._reader, key)
        except sqlite3.Error as error:
            raise self._failure("can't be read", error) from error

    def put(self, group: Sequence[Entry]) -> list[Stored]:
        """Keep answers in one transaction; returns once they are on disk.

        Of two answers to one question the first stays. Takes at most `GROUP`.
        """
        now = time.time()
        # One statement is one transaction, and one passage out of Python and back: with several, this thread would
        # wait for the interpreter's lock after each of them, and every call in flight with it.
        values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(group))
        fields = [field for key, answer, paid, _ in group for field in (key, answer, now, *paid)]
        try:
            with self._writing:
                for key, answer, paid, damaged in group:
                    if damaged is not None:
                        self._replace(key, damaged, (answer, now, *paid))
                inserted = self._writer.execute(f"INSERT OR IGNORE INTO answers VALUES {values}", fields).rowcount
                fresh = inserted == len(group)
                self._check_place()
                return [
                    (None if fresh else self._select(self._writer, each.key)) or Stored(each.answer, now, each.paid.usd)
                    for each in group
                ]
        except sqlite3.Error as error:
            raise self._failure("can't be written", error) from error

    def _replace(self, key: bytes, damaged: str, values: tuple[object, ...]) -> None:
        change = "UPDATE answers SET answer = ?, created = ?, paid_for = ?, tokens = ?, usd = ? WHERE key = ?"
        self._writer.execute(f"{change} AND answer IS ?", (*values, key, damaged))

    def spent(self, output: str) -> tuple[float, float]:
        """The tokens and dollars that were paid for an output, in all runs."""
        try:
            sums = "SELECT total(tokens), total(usd) FROM answers WHERE paid_for = ?"
            tokens, usd = self._reader.execute(sums, (output,)).fetchone()
        except sqlite3.Error as error:
            raise self._failure("can't be read", error) from error
        return tokens, usd

    def each(self) -> Iterator[tuple[bytes, Stored]]:
        """All answers with their keys, the oldest first."""
        try:
            yield from (
                (key, Stored(*stored))
                for key, *stored in self._reader.execute("SELECT key, answer, created, usd FROM answers ORDER BY rowid")
            )
        except sqlite3.Error as error:
            raise self._failure("can't be read", error) from error

    def remove(self, keys: Iterable[bytes]) -> int:
        """Forget answers, and give their room back; returns how many there were."""
        try:
            with self._writing:
                self._writer.execute("BEGIN IMMEDIATE")
                removed = sum(
                    self._writer.execute("DELETE FROM answers WHERE key = ?", (key,)).rowcount for key in keys
                )
                self._writer.execute("COMMIT")
                if removed:
                    self._writer.execute("VACUUM")
        except sqlite3.Error as error:
            raise self._failure("can't be written", error) from error
        return removed

    def begin_batch(self, batch: Batch) -> None:
        """Note that a batch is about to be sent."""
        values = (batch.token, batch.id, batch.endpoint, batch.model, batch.form, b"".join(batch.keys), batch.created)
        self._change("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values, batch.leased)

    def lease_batch(self, token: str, until: float) -> None:
        """Note until when whoever sends a batch is at work."""
        self._change("UPDATE batches SET leased = ? WHERE token = ?", until, token)

    def name_batch(self, token: str, id: str) -> None:
        """Note by which name the endpoint knows a batch."""
        self._change("UPDATE batches SET id = ? WHERE token = ?", id, token)

    def end_batch(self, token: str) -> None:
        """Note that all there is of a batch has come."""
        self._change("DELETE FROM batches WHERE token = ?", token)

    def batches(self) -> list[Batch]:
        """The batches that are under way, the oldest first."""
        try:
            found = self._reader.execute("SELECT * FROM batches ORDER BY created, token").fetchall()
        except sqlite3.Error as error:
            raise self._failure("can't be read", error) from error
        return [
            Batch(token, id, endpoint, model, form, _cut(keys), created, leased)
            for token, id, endpoint, model, form, keys, created, leased in found
        ]

    def _change(self, statement: str, *values: object) -> None:
        try:
            with self._writing:
                self._writer.execute(statement, values)
                self._check_place()
        except sqlite3.Error as error:
            raise self._failure("can't be written", error) from error

    def _check_place(self) -> None:
        """Raise StoreError if the file is no longer where it was: what is written then is found by nobody again."""
        try:
            same = os.path.samestat(self._place.stat(), self._file)
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreError(
                f"store {self.path}: it was moved, deleted or replaced while it was in use; put it back, or run the "
                "same command again to begin a new one"
            )

    def close(self) -> None:
        """Let the file go."""
        self._reader.close()
        self._writer.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._place, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                self._version(db)
                break
            except sqlite3.OperationalError as error:  # for this SQLite doesn't wait when two begin at once
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                    raise
                time.sleep(0.02)
        db.execute("PRAGMA synchronous = FULL")
        self._migrate(db)
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        if self._version(db) == len(MIGRATIONS):
            return
        db.execute("BEGIN IMMEDIATE")  # another process may be doing the same: look again under the lock
        version = self._version(db)
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")

    def _version(self, db: sqlite3.Connection) -> int:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        owner: int = db.execute("PRAGMA application_id").fetchone()[0]
        tables: int = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if owner != APPLICATION_ID and (owner or version or tables):
            raise StoreError(f"store {self.path}: this is another program's SQLite file; name another with --store")
        if version > len(MIGRATIONS):
            raise StoreError(
                f"store {self.path}: it has schema version {version}, this evolgen knows up to {len(MIGRATIONS)}; "
                "upgrade evolgen or name another with --store"
            )
        return version

    @staticmethod
    def _select(db: sqlite3.Connection, key: bytes) -> Stored | None:
        row = db.execute("SELECT answer, created, usd FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else Stored(*row)

    def _failure(self, what: str, error: Exception) -> StoreError:
        return StoreError(f"store {self.path}: it {what}: {_explain(error)}")


def _cut(keys: bytes) -> tuple[bytes, ...]:
    return tuple(keys[at : at + KEY] for at in range(0, len(keys), KEY))


def _explain(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}; check the path and its permissions, or name another with --store"
    name = getattr(error, "sqlite_errorname", "")  # the module's own errors have none
    for prefix, explanation in EXPLANATIONS.items():
        if name.startswith(prefix):
            return explanation.format(error=error)
    return f"{error}; what was stored before is safe"
