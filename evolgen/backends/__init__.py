"""Teachers: one small protocol, and what speaks it (an HTTP endpoint, the local runner, a script)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from evolgen.asking import Request

Response = dict[str, Any]
"""A response in the shape of OpenAI's API, whole, as it will be stored: `choices`, `usage`, ..., and `form`,
the way in which the question had to be put."""


class Backend(Protocol):
    """A way to a teacher."""

    async def complete(self, model: str, request: Request) -> Response:
        """One attempt at one question; `choices` holds at least one with a text.

        Raises TeacherError: Refused (no use asking again), Unanswered (ask again), Denied (stop the run).
        """

    async def close(self) -> None:
        """Let connections and processes go."""


Identity = Mapping[str, Any]
"""What identifies a model in the key of a question."""


@dataclass(frozen=True)
class Teacher:
    """A model and the way to it.

    `name` is shown in rows, `wire_name` is what the backend is asked for, `identity` enters every key, and
    `concurrency` is how many calls the backend takes at once. Teachers at one endpoint share a backend.
    """

    name: str
    wire_name: str
    identity: Identity
    backend: Backend
    concurrency: int
