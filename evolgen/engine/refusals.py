"""A run that is nothing but refusals of one kind is for nothing, and ends before it has asked everything."""

from __future__ import annotations

from evolgen.backends.forms import folded
from evolgen.errors import OF_CONTENT, Refused, TeacherError

MOST = 20
"""Refusals of one kind, and nothing else, after which nothing more is sent."""


class Refusals:
    """Counts refusals that are not of content, of one status and one text, as long as there is no answer."""

    def __init__(self) -> None:
        self.first: TeacherError | None = None
        self._count = 0
        self._alike = True

    def hear(self, error: TeacherError) -> None:
        """A question was refused for good."""
        if not isinstance(error, Refused) or error.rule in OF_CONTENT:
            self._alike = False
            return
        self.first = self.first or error
        self._alike &= folded(error) == folded(self.first)
        self._count += 1

    @property
    def enough(self) -> bool:
        """Whether that many came, and nothing else."""
        return self.all_alike and self._count >= MOST

    @property
    def all_alike(self) -> bool:
        """Whether there were any, and nothing else."""
        return self._alike and self._count > 0
