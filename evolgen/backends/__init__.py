"""Teachers: one small protocol, and what speaks it (an HTTP endpoint, the local runner, a script)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evolgen.asking import Request, Vector

Response = dict[str, Any]
"""A response in the shape of OpenAI's API, whole, as it will be stored: `choices`, `usage`, ..., and `form`,
the way in which the question had to be put."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The answer to one call for embeddings: a vector a text, in the order of the texts, all of one length.

    `call` is what the endpoint said beside them: `model`, `usage`, and `form` as in a `Response`.
    """

    vectors: list[Vector]
    call: Mapping[str, Any]


class Backend(Protocol):
    """A way to a teacher."""

    async def complete(self, model: str, request: Request) -> Response:
        """One attempt at one question; `choices` holds at least one with a text.

        Raises TeacherError: Refused (no use asking again), Unanswered (ask again), Denied (stop the run).
        """

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """One attempt at the embeddings of several texts; raises what `complete` raises, for all of them."""

    def leave(self) -> None:
        """Wait no longer for what takes longer than a call: those calls raise Stopped."""

    async def close(self) -> None:
        """Let connections and processes go."""


Identity = Mapping[str, Any]
"""What identifies a model in the key of a question."""


@dataclass(frozen=True)
class Limits:
    """What one backend may be asked at most: calls in flight, requests and tokens a minute (None: no limit)."""

    concurrency: int
    rpm: float | None = None
    tpm: float | None = None


@dataclass(frozen=True)
class Teacher:
    """A model and the ways to it.

    `name` is shown in rows, `wire_name` is what a backend is asked for, and `identity` enters every key. The `backends`
    are replicas, each with the same `limits`: which of them answers makes no difference. Teachers at the same endpoints
    share them. A call for embeddings holds up to `embed_characters` of text, or one text that is longer. Calls cost
    money unless they are `free`; those `in_batches` take hours, and nobody waits for them at the end.

    `variant` stands beside each key in the store, and nowhere else: it tells apart teachers of the same identity. None
    is for one whose answers are not to be kept.
    """

    name: str
    wire_name: str
    identity: Identity
    backends: tuple[Backend, ...]
    limits: Limits
    embed_characters: int = 100_000
    free: bool = False
    in_batches: bool = False
    variant: bytes | None = b""

    @property
    def concurrency(self) -> int:
        """Calls that all its backends take at once."""
        return len(self.backends) * self.limits.concurrency
