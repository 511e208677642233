"""Looking after a store: what it holds, and forgetting what is not wanted any more."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evolgen.answers import output_digest
from evolgen.asking import read_answer, read_vector
from evolgen.config import STORE
from evolgen.config.values import duration
from evolgen.errors import UsageError
from evolgen.store import Store


class StoreInfo(BaseModel):
    """What a store holds: `bytes` on disk, `answers` of which so many are `damaged`, stored between two dates.

    `usd` is what is known to have been paid for them, by whichever run. `waiting` are questions in batches. With an
    output, `output_tokens` and `output_usd` are what was paid for that, which budgets reckon with.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    bytes: int
    answers: int
    embeddings: int
    damaged: int
    oldest: datetime | None
    newest: datetime | None
    usd: float
    waiting: int
    output_tokens: float | None = None
    output_usd: float | None = None


def store_info(store: str | Path = STORE, *, out: str | Path | None = None) -> StoreInfo:
    """What a store holds, and what was paid for an output: what `evolgen store info` does.

    Raises UsageError where there is no such store.
    """
    kinds = {"answer": 0, "embedding": 0, "damaged": 0}
    times: list[float] = []
    usd = 0.0
    with opened_store(store) as opened:
        for key, stored in opened.each():
            kinds[_kind(key, stored.answer)] += 1
            times = [min(times[0], stored.created), max(times[1], stored.created)] if times else [stored.created] * 2
            usd += stored.usd or 0.0
        digest = None if out is None else output_digest(Path(out))
        tokens, paid = (None, None) if digest is None else opened.spent(digest)
        oldest, newest = (datetime.fromtimestamp(each, UTC) for each in times) if times else (None, None)
        return StoreInfo(
            path=Path(store),
            bytes=Path(store).stat().st_size,
            answers=sum(kinds.values()),
            embeddings=kinds["embedding"],
            damaged=kinds["damaged"],
            oldest=oldest,
            newest=newest,
            usd=usd,
            waiting=sum(len(batch.keys) for batch in opened.batches()),
            output_tokens=tokens,
            output_usd=paid,
        )


def prune_store(
    store: str | Path = STORE, *, older_than: str | None = None, damaged: bool = False, dry_run: bool = False
) -> int:
    """Forget answers that are older than 90d, say, or damaged: what `evolgen store prune` does.

    Returns how many there were. What is forgotten is paid again when it is needed again, and budgets no longer know of
    it. Raises UsageError where there is no such store, or nothing is said of what to forget.
    """
    if older_than is None and not damaged:
        raise UsageError("store prune: say what to forget: --older-than 90d, or --damaged")
    try:
        before = None if older_than is None else time.time() - float(duration(older_than))
    except (TypeError, ValueError) as error:
        raise UsageError(f"--older-than {older_than}: {error}") from error
    with opened_store(store) as opened:
        unwanted = [
            key
            for key, stored in opened.each()
            if (before is not None and stored.created < before) or (damaged and _kind(key, stored.answer) == "damaged")
        ]
        return len(unwanted) if dry_run else opened.remove(unwanted)


def _kind(key: bytes, answer: str) -> str:
    """What a stored answer is."""
    for kind, read in (("answer", lambda: read_answer(key, "", answer)), ("embedding", lambda: read_vector(answer))):
        with contextlib.suppress(ValueError):
            read()
            return kind
    return "damaged"


@contextlib.contextmanager
def opened_store(path: str | Path) -> Iterator[Store]:
    """A store that is there; raises UsageError where it isn't, for opening it would make one."""
    if not Path(path).exists():
        raise UsageError(f"--store {path}: there is no such store")
    with contextlib.closing(Store(Path(path))) as store:
        yield store
