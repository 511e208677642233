"""Embeddings: a key a text, many texts a call, under the same limits as every other question."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from evolgen.asking import EmbeddingRequest, Vector, read_vector, stored_vector
from evolgen.backends import Embeddings
from evolgen.engine.ask import Asker, Halt
from evolgen.engine.budget import Spent
from evolgen.engine.ending import Ending
from evolgen.engine.tokens import CHARACTERS
from evolgen.errors import Denied, Refused, TeacherError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXTS = 256
"""Texts in one call at the most."""

REFUSALS = 8
"""Texts refused one by one, without a single vector seen, after which it is the model that can't embed."""

BREAKS = ("http_5", "malformed")
"""Failures that may lie in one of the texts, as far as rules tell: a 500, or a vector with what is no number."""

PART_ATTEMPTS = 2
"""Attempts for each part of a call that had all of its attempts."""

PATIENCE = 8
"""Calls given up one after the other, with no answer between them, until they are no longer cut: 256 texts are one
after eight cuts."""

Received: TypeAlias = Callable[[str, Vector | TeacherError], None]
"""Called once with each different text, and its vector or the error for which it has none."""

Batch: TypeAlias = Mapping[str, bytes]
"""Texts that go out in one call, and their keys."""


@dataclass(frozen=True)
class Embedded:
    """A row a text: `vectors[i]` is the embedding of text `i`, as the endpoint gave it.

    `failed` says which texts have none, and why; their rows are zeros. Without any vector the rows are empty.
    """

    vectors: NDArray[np.float32]
    failed: dict[int, TeacherError] = field(default_factory=dict)


async def embed_all(asker: Asker, texts: Sequence[str]) -> Embedded:
    """The embeddings of texts, by the teacher of the role `embed`: from the store, else paid for.

    Identical texts are paid for once, calls go out as the teacher's slots allow. Raises what the asker ended by (a
    budget, --offline, Ctrl-C, a teacher that denies or is gone): what was paid for is stored by then.
    """
    table = _Table(asker, texts)
    try:
        await embed(asker, table.rows_of, table.receive)
    except Halt:
        if asker.ending is None:
            raise
        raise asker.ending.error() from None
    return table.embedded()


async def embed(asker: Asker, texts: Iterable[str], received: Received, *, position: int = 0) -> None:
    """Have `received` told the embedding of each text, as they come.

    Raises Halt where the run is stopping, once the calls in flight are stored.
    """
    teacher = asker.teacher("embed")
    calls = _Calls(asker, received, position)
    missing: dict[str, bytes] = {}
    for number, text in enumerate(dict.fromkeys(texts)):
        if number % TEXTS == 0:
            await asyncio.sleep(0)  # reading a large store takes a while: let signals and other tasks have a turn
        key = EmbeddingRequest(text).key(teacher.identity)
        if not text.strip():
            received(text, Refused("no_text", "there is no text to embed"))
        elif (vector := asker.replay("embed", key, read_vector)) is not None:
            calls.answered = True
            received(text, vector)
        else:
            missing[text] = key
    pending = batches(missing, TEXTS, teacher.embed_characters)
    await _all(calls.pay_each(pending) for _ in range(teacher.concurrency))


def batches(texts: Batch, most: int, most_characters: int) -> Iterator[Batch]:
    """Cut texts, in order, into calls of so many texts and characters; a text that is longer goes alone.

    >>> [list(batch) for batch in batches(dict.fromkeys(["a", "bb", "c", "dddd", "e"], b""), 2, 3)]
    [['a', 'bb'], ['c'], ['dddd'], ['e']]
    """
    batch: dict[str, bytes] = {}
    size = 0
    for text, key in texts.items():
        if batch and (len(batch) == most or size + len(text) > most_characters):
            yield batch
            batch, size = {}, 0
        batch[text] = key
        size += len(text)
    if batch:
        yield batch


class _Calls:
    """The calls for the texts that the store doesn't know.

    A refused call is made again in halves until the texts that the endpoint refuses stand alone, so that one of
    them doesn't cost the rest. So is a call that the endpoint breaks on (some models give no number for some text),
    unless it breaks on whatever it is asked. Before the first vector is seen the halves go out one after the other:
    where the endpoint refuses everything, that is found out in few calls.
    """

    def __init__(self, asker: Asker, received: Received, position: int) -> None:
        self.answered = False
        self._asker = asker
        self._teacher = asker.teacher("embed")
        self._received = received
        self._position = position
        self._most = TEXTS
        self._refusals = 0
        self._broken = 0  # calls given up since the last that was answered

    async def pay_each(self, pending: Iterator[Batch]) -> bool:
        """Take calls from those that are pending, one after the other: the later ones profit from what is learned."""
        return all([await self._pay_or_wait(batch) for batch in pending])

    async def _pay_or_wait(self, batch: Batch) -> bool:
        """Pay for the texts that no other run is asking for, then wait for what others get."""
        asker, variant = self._asker, self._asker.variant("embed")
        ours = await asker.sharing.claim((key + variant for key in batch.values()), asker.pause)
        mine, fine = {text: key for text, key in batch.items() if key + variant in ours}, True
        try:
            if asker.sharing.others:  # some may have come just before the claim
                mine = {text: key for text, key in mine.items() if not self._replayed(text, key)}
            if mine:
                fine = await self.pay(mine)
        finally:
            for key in ours:
                asker.sharing.done(key)
        for text, key in batch.items():
            if key + variant not in ours:
                fine &= await self._wait_for(text, key)
        return fine

    async def _wait_for(self, text: str, key: bytes) -> bool:
        """Take what another run gets for a text, or pay for it if that gets nothing."""
        asker, shared = self._asker, key + self._asker.variant("embed")
        stored = partial(asker.replay, "embed", key, read_vector)
        try:
            vector = await asker.sharing.turn(shared, stored, asker.pause, asker.timeout)
            if vector is None:
                return await self.pay({text: key})
        finally:
            asker.sharing.done(shared)
        self._received(text, vector)
        return True

    def _replayed(self, text: str, key: bytes) -> bool:
        """Whether the store has an answer by now; it is received."""
        vector = self._asker.replay("embed", key, read_vector)
        if vector is not None:
            self._received(text, vector)
        return vector is not None

    async def pay(self, batch: Batch, attempts: int | None = None) -> bool:
        """Pay for the texts of a call; returns whether all of them were answered."""
        if len(batch) > self._most:
            return await self._halve(batch, attempts)
        texts = list(batch)
        keep = partial(self._keep, list(batch.values()))
        divisible = len(batch) > 1
        try:
            vectors = await self._asker.pay(
                self._position,
                "embed",
                lambda backend: backend.embed(self._teacher.wire_name, texts),
                keep,
                tokens=sum(map(len, texts)) / CHARACTERS,
                attempts=attempts,
                divisible=divisible,
            )
        except Refused as error:
            if divisible:
                return await self._halve(batch, attempts)
            self._refuse(texts[0], error)
            return False
        except TeacherError as error:
            self._broken += 1
            if divisible and error.rule.startswith(BREAKS) and self._broken <= PATIENCE:
                return await self._halve(batch, PART_ATTEMPTS)
            for text in texts:
                self._received(text, error)
            return False
        self.answered, self._broken = True, 0
        for text, vector in zip(texts, vectors, strict=True):
            self._received(text, vector)
        return True

    async def _halve(self, batch: Batch, attempts: int | None) -> bool:
        pairs = list(batch.items())
        middle = (len(pairs) + 1) // 2
        halves = [dict(pairs[:middle]), dict(pairs[middle:])]
        if self.answered:
            fine = all(await _all(self.pay(half, attempts) for half in halves))
        else:
            fine = all([await self.pay(half, attempts) for half in halves])
        if fine:  # it was the number of texts that was too much, and none of them
            self._most = min(self._most, middle)
        return fine

    def _refuse(self, text: str, error: Refused) -> None:
        self._refusals += 1
        if self._refusals >= REFUSALS and not self.answered and error.rule == "bad_request":
            denied = Denied(
                "denied", f"the model {self._teacher.name} gives no embeddings ({error}); name one that does"
            )
            self._asker.stop(denied)
            raise Halt
        self._received(text, error)

    async def _keep(self, keys: Sequence[bytes], answer: Embeddings, spent: Spent) -> list[Vector]:
        call = {**answer.call, "texts": len(keys)}
        answers = [
            (key, stored_vector(vector, None if number else call))
            for number, (key, vector) in enumerate(zip(keys, answer.vectors, strict=True))
        ]
        stored = await self._asker.keep("embed", answers, spent)
        return [read_vector(text) for text in stored]


async def _all(calls: Iterable[Coroutine[Any, Any, bool]]) -> list[bool]:
    """Run calls side by side and all to their end; a failure is raised when the others are through."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        raise next((failure for failure in failures if not isinstance(failure, Halt)), failures[0])
    return [outcome is True for outcome in outcomes]


class _Table:
    """Vectors on their way into one array, which is made when the first of them tells its length."""

    def __init__(self, asker: Asker, texts: Sequence[str]) -> None:
        self.rows_of: defaultdict[str, list[int]] = defaultdict(list)
        for row, text in enumerate(texts):
            self.rows_of[text].append(row)
        self._asker = asker
        self._rows = len(texts)
        self._vectors: NDArray[np.float32] | None = None
        self._failed: dict[int, TeacherError] = {}

    def receive(self, text: str, outcome: Vector | TeacherError) -> None:
        import numpy as np

        if isinstance(outcome, TeacherError):
            self._failed |= dict.fromkeys(self.rows_of[text], outcome)
            return
        vector = np.frombuffer(outcome, "<f4")
        if self._vectors is None:
            self._vectors = np.zeros((self._rows, len(vector)), np.float32)
        if len(vector) != self._vectors.shape[1]:
            model = self._asker.teacher("embed").name
            self._asker.end(Ending.by(UsageError(
                f"the embeddings of {model} differ in length ({self._vectors.shape[1]} and {len(vector)} numbers): "
                "another model answers by that name now; tell the two apart with --model-tag"
            )))  # fmt: skip
            raise Halt
        self._vectors[self.rows_of[text]] = vector

    def embedded(self) -> Embedded:
        import numpy as np

        vectors = np.zeros((self._rows, 0), np.float32) if self._vectors is None else self._vectors
        return Embedded(vectors, dict(sorted(self._failed.items())))
