"""The form in which an endpoint takes the questions for a model: what it refuses is learned from its refusals.

Endpoints differ in which parameters they take, and say so in words of their own. So these are not read, but compared:
a part of the question that the endpoint won't have is found by leaving out one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set
from typing import Generic, TypeAlias, TypeVar

from evolgen.errors import Refused, TeacherError

R = TypeVar("R")

Form: TypeAlias = frozenset[str]
"""The parts of a question that it is put without, or in another way."""

PLAIN: Form = frozenset()

SPELLINGS = {
    "schema": r"response ?format|json ?schema|structured ?outputs?|guided ?json|grammar",
    "presence_penalty": r"(presence|frequency) ?penalty|penalties",
    "temperature": r"temperature",
    "top_p": r"top ?p\b",
    "stop": r"stop ?sequences?|[`'\"]stop[`'\"]|\bstop (?:parameter|argument|field)|\bbody\.stop\b",
    "max_tokens": r"max ?(completion ?|output ?)?tokens|max ?length",
    "system": r"system ?(role|message|prompt|instruction)|roles?\b.{0,40}\bsystem\b|[`'\"](system|developer)[`'\"]",
    "encoding_format": r"encoding ?format|base64",
}
"""The optional parts in the order in which they are tried, and how endpoints call each (`_` and `-` read as spaces)."""

TOGETHER = (("temperature", "top_p"),)
"""Parts that an endpoint may refuse one beside the other, or both."""

BREAKS = 3
"""Questions with a schema that fail with a 500 until that is taken for a refusal of schemas."""

VAIN = 3
"""Searches that found nothing, after which a refusal that names no part starts none: it may quote its question."""

_OTHER_REASON = re.compile(
    r"model.{0,80}(not found|not exist|unknown|invalid|unavailable|not (a )?valid|not supported)|"
    r"(unknown|invalid|no such|unsupported|nonexistent) model|(api|access) ?key|unauthori[sz]ed|authenticat|credential|"
    r"permission|quota|billing"
)
"""Refusals that say that the model is unknown, or the key wrong."""

_ID = re.compile(r"[0-9a-f]*\d[0-9a-f-]*|\b\w*\d\w*\b")


def folded(error: TeacherError) -> tuple[int | None, str]:
    """A refusal's status and words, without digits and ids: what two refusals for one reason have in common."""
    return error.status, _ID.sub("#", (error.said or str(error)).lower())[:1000]


def named(error: TeacherError, parts: Iterable[str]) -> list[str]:
    """The parts that a refusal names, in any spelling.

    >>> named(Refused("bad_request", "", said="`Top-P` and temperature can't both be set"), SPELLINGS)
    ['temperature', 'top_p']
    """
    said = re.sub(r"[_-]", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", error.said)).lower()
    return [part for part in parts if part == error.param or re.search(SPELLINGS[part], said)]


def may_be_the_form(error: TeacherError, parts: Sequence[str]) -> bool:
    """Whether a refusal may be for the form in which a question of these parts was put."""
    if error.status == 500:  # some break on a schema instead of refusing it
        return "schema" in parts and "schema" in named(error, parts)
    if not isinstance(error, Refused) or error.status not in (400, 422):
        return False
    of_content = error.rule != "bad_request" or _OTHER_REASON.search(error.said.lower())
    return bool(named(error, parts)) or not of_content


class Forms:
    """What one endpoint takes of the questions for one model.

    One question at a time looks for a form, the others wait and are put in what it found. A form counts, for all
    questions to come, once a second question was refused in the old one and taken in this.
    """

    def __init__(self, tell: Callable[[str], None] = lambda text: None) -> None:
        self._tell = tell
        self._form = PLAIN
        self._found = PLAIN
        self._looking = asyncio.Lock()
        self._broken = 0
        self._hopeless: set[tuple[object, ...]] = set()

    @property
    def best(self) -> Form:
        """The form for a question that can't be put twice."""
        return self._form | self._found

    async def put(self, parts: Sequence[str], put: Callable[[Form], Awaitable[R]]) -> tuple[R, Form]:
        """Put a question of some optional parts; returns what came, and the form that it took.

        Raises the refusal of the question as it is where no form helps.
        """
        while True:
            form = self._form
            left = [part for part in parts if part not in form]
            try:
                answer = await put(form)
            except TeacherError as error:
                if not may_be_the_form(error, left) and not self._breaks_on_schemas(error, left):
                    raise
                refusal = error
            else:
                if "schema" in left:
                    self._broken = -1  # it takes them
                return answer, form
            async with self._looking:
                if self._form != form:
                    continue  # somebody else found one
                if self._found & set(left):
                    again = await _tried(put, form | self._found)
                    if not isinstance(again, TeacherError):
                        self._form, self._found = form | self._found, PLAIN
                        return again, self._form
                return await self._look(refusal, left, put)

    def _breaks_on_schemas(self, error: TeacherError, parts: Sequence[str]) -> bool:
        """Whether questions with a schema fail with a 500, one like the other, and none was ever answered."""
        if error.status == 500 and "schema" in parts and self._broken >= 0:
            self._broken += 1
        return error.status == 500 and "schema" in parts and self._broken >= BREAKS

    async def _look(
        self, refusal: TeacherError, parts: Sequence[str], put: Callable[[Form], Awaitable[R]]
    ) -> tuple[R, Form]:
        """Find the form in which a refused question is taken; raises its refusal where there is none."""
        reason = (*folded(refusal), *parts)
        vain = len(self._hopeless) >= VAIN and not named(refusal, parts)
        if vain or reason in self._hopeless:
            raise refusal
        search = _Search(self._form, refusal, parts, put)
        found = await search.found()
        if found is None:
            self._hopeless.add(reason)
            raise refusal
        answer, form = found
        if not form - self._form <= self._found:
            dropped = ", ".join(NAMES.get(part, part) for part in SPELLINGS if part in form - self._form)
            self._tell(f"{refusal}: it takes it without {dropped}")
        self._found |= form - self._form
        return answer, form


NAMES = {
    "schema": "response_format",
    "max_tokens": "max_tokens (but as max_completion_tokens)",
    "system": "a system message of its own",
}
"""What a person knows a part by, where that isn't its name."""


class _Search(Generic[R]):
    """One question's search for a form: parts are left out until it is taken."""

    def __init__(
        self, form: Form, refusal: TeacherError, parts: Sequence[str], put: Callable[[Form], Awaitable[R]]
    ) -> None:
        self._form = form
        self._refusal = refusal
        self._parts = parts if refusal.status != 500 else ["schema"]
        self._put = put

    async def found(self) -> tuple[R, Form] | None:
        """The answer and the form that brought it."""
        out, refusal = self._form, self._refusal
        tried: set[Form] = set()
        while True:
            for group in self._groups(out, refusal):
                form = out | group
                if form in tried:
                    continue
                tried.add(form)
                outcome = await _tried(self._put, form)
                if not isinstance(outcome, TeacherError):
                    return outcome, form
                if folded(outcome) != folded(refusal):  # it was to blame, and something else is as well
                    out, refusal = form, outcome
                    break
            else:
                return await self._without_all(tried)

    def _groups(self, out: Form, refusal: TeacherError) -> Iterator[Form]:
        """What to leave out next, of what is left: first what the refusal names."""
        left = [part for part in self._parts if part not in out]
        first = named(refusal, left)
        for part in [*first, *(part for part in left if part not in first)]:
            yield frozenset([part])
        for group in TOGETHER:
            if set(group) <= set(left):
                yield frozenset(group)

    async def _without_all(self, tried: Set[Form]) -> tuple[R, Form] | None:
        """Leave all out, then put back, one by one, what is not to blame."""
        form = self._form | frozenset(self._parts)
        if form in tried:
            return None
        answer = await _tried(self._put, form)
        if isinstance(answer, TeacherError):
            return None
        for part in self._parts:
            with contextlib.suppress(TeacherError):  # the answer in hand was paid for: whatever goes wrong, it is kept
                answer, form = await self._put(form - {part}), form - {part}
        return answer, form


async def _tried(put: Callable[[Form], Awaitable[R]], form: Form) -> R | TeacherError:
    """What a form brings: an answer, or a refusal; anything else that goes wrong is raised."""
    try:
        return await put(form)
    except Refused as error:
        return error
    except TeacherError as error:
        if error.status == 500:
            return error
        raise
