from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from evolgen import store as store_module
from evolgen.answers import Batch, Entry, Payment, output_digest
from evolgen.errors import StoreError
from evolgen.store import APPLICATION_ID, Store

KEY = b"k" * 32


def test_an_answer_comes_back_also_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.sqlite"
    store = Store(path)
    assert store.get(KEY) is None
    (stored,) = store.put([Entry(KEY, '{"a": 1}')])
    assert store.get(KEY) == stored
    store.close()
    again = Store(path)
    assert again.get(KEY) == stored
    again.close()


def test_the_first_answer_stays_and_both_writers_get_it(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "s"), Store(tmp_path / "s")
    first = one.put([Entry(KEY, "first")])[0]
    assert two.put([Entry(b"o" * 32, "other"), Entry(KEY, "second")])[1] == first
    assert one.get(b"o" * 32) is not None
    one.close()
    two.close()


def test_two_threads_write_to_a_store(tmp_path: Path) -> None:
    """Of each answer its writer hears what the store holds, whatever another thread writes meanwhile."""
    store = Store(tmp_path / "s")

    def write(thread: int) -> list[tuple[bytes, str]]:
        heard: list[tuple[bytes, str]] = []
        for number in range(100):
            keys = [(number * 3 + more).to_bytes(32) for more in range(1 + thread)]
            stored = store.put([Entry(key, f'"{thread}"') for key in keys])
            heard += [(key, each.answer) for key, each in zip(keys, stored, strict=True)]
            store.begin_batch(Batch(f"{thread} {number}", None, "e", "m", "{}", (KEY,), 1.0))
            store.end_batch(f"{thread} {number}")
        return heard

    with ThreadPoolExecutor(3) as threads:
        heard = [each for of_thread in threads.map(write, range(3)) for each in of_thread]
    assert len(heard) == 600
    assert all(stored.answer == answer for key, answer in heard if (stored := store.get(key)) is not None)
    assert len(set(heard)) == len({key for key, _ in heard}) == 300
    assert store.batches() == []
    store.close()


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from evolgen.answers import Entry
from evolgen.store import Store
store = Store(Path("shared.sqlite"))
for i in range(200):
    store.put([Entry(b"%032d" % i, sys.argv[1]), Entry(b"%s%030d" % (sys.argv[1].encode(), i), "own")])
assert all(store.get(b"%032d" % i) for i in range(200))
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, name], cwd=tmp_path) for name in ("aa", "bb")]
    assert [process.wait(60) for process in processes] == [0, 0]
    count = sqlite3.connect(tmp_path / "shared.sqlite").execute("SELECT count(*) FROM answers").fetchone()[0]
    assert count == 600


def test_a_damaged_file_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(StoreError, match=r"store .*store\.sqlite: it can't be opened: the file is damaged"):
        Store(path)


def test_damage_that_shows_later_is_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    store.put([Entry(b"%032d" % i, "x" * 500) for i in range(300)])
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    damaged = Store(path)
    with pytest.raises(StoreError, match="damaged"):
        [damaged.get(b"%032d" % i) for i in range(300)]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_that_vanishes_or_is_replaced_is_an_error_at_once(tmp_path: Path, replaced: bool) -> None:
    store = Store(tmp_path / "s" / "store.sqlite")
    store.put([Entry(b"a", "1")])
    (tmp_path / "s").rename(tmp_path / "moved")
    if replaced:
        Store(tmp_path / "s" / "store.sqlite").close()
    with pytest.raises(StoreError, match="moved, deleted or replaced"):
        store.put([Entry(b"b", "2")])
    assert Store(tmp_path / "moved" / "store.sqlite").get(b"a") is not None


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"schema version 99, this evolgen knows up to \d+; upgrade"):
        Store(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StoreError, match="another program's SQLite file"):
        Store(path)
    tables = sqlite3.connect(path).execute("SELECT name FROM sqlite_schema").fetchall()
    assert tables == [("theirs",)]


def test_an_older_store_is_migrated_and_keeps_its_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.sqlite"
    old = Store(path)
    stored = old.put([Entry(KEY, "kept")])[0]
    old.close()

    def add_table(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE extra (x)")

    monkeypatch.setattr(store_module, "MIGRATIONS", [*store_module.MIGRATIONS, add_table])
    new = Store(path)
    assert new.get(KEY) == stored
    new.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(store_module.MIGRATIONS),)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("SELECT count(*) FROM extra").fetchone() == (0,)


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    """The file may not grow past a limit, as on a full disk; what was stored before is there afterwards."""
    script = """
import resource, signal
from pathlib import Path
from evolgen.errors import StoreError
from evolgen.answers import Entry
from evolgen.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
store = Store(Path("store.sqlite"))
for i in range(10_000):
    try:
        store.put([Entry(b"%032d" % i, "x" * 2000)])
    except StoreError as error:
        print(i, error)
        break
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    count, _, message = done.stdout.partition(" ")
    assert "it can't be written" in message
    assert "what was stored before is safe" in message
    assert int(count) > 50
    store = Store(tmp_path / "store.sqlite")
    assert all(store.get(b"%032d" % i) for i in range(int(count)))
    store.close()


def test_a_store_knows_which_batches_are_under_way(tmp_path: Path) -> None:
    keys = tuple(bytes([number]) * 32 for number in range(3))
    batch = Batch("token", None, "https://api.example.com/v1", "m", "{}", keys, 1.5)
    store = Store(tmp_path / "s")
    store.begin_batch(batch)
    assert store.batches() == [batch]
    store.name_batch("token", "batch_1")
    store.begin_batch(replace(batch, token="older", created=0.5))
    store.close()
    store = Store(tmp_path / "s")
    assert [(each.token, each.id) for each in store.batches()] == [("older", None), ("token", "batch_1")]
    store.end_batch("older")
    store.end_batch("older")
    assert [each.keys for each in store.batches()] == [keys]
    store.close()


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(store_module, "MIGRATIONS", store_module.MIGRATIONS[:1])
        Store(tmp_path / "s").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "s", isolation_level=None)) as db:
        db.execute("INSERT INTO answers VALUES (?, ?, ?)", (KEY, "{}", 1.5))
    store = Store(tmp_path / "s")
    assert store.get(KEY) == ("{}", 1.5, None)
    assert store.batches() == []
    store.close()


def test_what_was_paid_for_an_output_is_summed_over_all_runs(tmp_path: Path) -> None:
    rows = output_digest(tmp_path / "rows.jsonl")
    assert rows is not None
    store = Store(tmp_path / "s")
    paid = [Payment(rows, 120, 0.25), Payment(rows, 30, None), Payment("other", 7, 1.0), Payment()]
    store.put([Entry(bytes([number]) * 32, "{}", each) for number, each in enumerate(paid)])
    assert store.spent(rows) == (150, 0.25)
    assert store.spent("nothing") == (0, 0)
    assert store.put([Entry(bytes(32), "again", Payment(rows, 999, 9.0))])[0].answer == "{}"
    assert store.spent(rows) == (150, 0.25), "an answer is paid for once"
    store.close()


def test_a_damaged_answer_is_replaced_while_it_stands_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.put([Entry(KEY, "{broken"), Entry(b"o" * 32, "fine")])
    assert store.put([Entry(KEY, "mended", damaged="{broken")])[0].answer == "mended"
    assert store.put([Entry(KEY, "late", damaged="{broken")])[0].answer == "mended"
    assert [stored.answer for key in (KEY, b"o" * 32) if (stored := store.get(key))] == ["mended", "fine"]
    store.close()
