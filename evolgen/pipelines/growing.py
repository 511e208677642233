"""What Self-Instruct and Alpaca share: how a list is asked for, and how its tasks come into the pool, or don't."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolgen.asking import Request, Role
from evolgen.curate.filters.selection import Filter
from evolgen.parsing.forms import AnswerForm, Choice, Form, Listing
from evolgen.parsing.lists import Entry, Unread
from evolgen.pipelines.draft import Draft
from evolgen.pipelines.pool import Pool
from evolgen.prompts import Template
from evolgen.records import Message, Record, Rejection, Texts, printable, unprintable


@dataclass(frozen=True)
class Question:
    """A way of asking: the template, the form of the answer (None: plain words), and how the answer is sampled.

    A list is of at most so many entries; `many` tells that all of them are wanted, else it is of a task's instances.
    `stop` ends the completion of a base model; `choice` is what an answer in plain words is to be one of.
    """

    role: Role
    template: Template
    form: Form | None
    most: int
    temperature: float
    top_p: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    completion: bool = False
    many: bool = False
    choice: Choice | None = None

    def request(
        self, demonstrations: Sequence[Entry] = (), *, lead: str = "", sample: int = 0, max_tokens: int, **values: str
    ) -> Request:
        """The question with its template filled in; `lead` is how a completion's answer begins."""
        settings: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "presence_penalty": self.presence_penalty,
            "max_tokens": max_tokens,
            "sample": sample,
            "form": self._answer_form(lead, len(demonstrations) + 1),
        }
        if self.form is not None:
            write = self.form.as_text if self.completion else self.form.as_json
            values["demonstrations"] = write(demonstrations)
        messages = self.template.render(**values)
        if self.completion:
            return Request(self.role, prompt=flattened(self._textual(messages)) + lead, stop=self.stop, **settings)
        if self.form is None:
            return Request(self.role, messages, **settings)
        schema = self.form.schema(self.most)
        return Request(self.role, messages, schema=schema, textual=self._textual(messages), **settings)

    def _answer_form(self, lead: str, number: int) -> AnswerForm | None:
        if self.form is None:
            return self.choice
        return Listing(self.form, self.most if self.many else None, lead, number if self.many else 1)

    def _textual(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The same messages with the assistant's lists as text."""
        form = self.form
        if form is None:
            return messages
        return tuple(
            (role, form.as_text(_entries(form, content)) if role == "assistant" else content)
            for role, content in messages
        )


def flattened(messages: Iterable[Message]) -> str:
    """A few-shot chat as one text for a base model to go on with: an answer stands below its question.

    >>> flattened([("system", "Answer."), ("user", "Q: 1+1"), ("assistant", "2"), ("user", "Q: 2+2")])
    'Answer.\\n\\nQ: 1+1\\n2\\n\\nQ: 2+2\\n'
    """
    ends = {"system": "\n\n", "user": "\n", "assistant": "\n\n"}
    return "".join(content + ends[role] for role, content in messages)


def candidates(draft: Draft, answer: str, question: Question, *, cut: bool) -> list[Draft | Record]:
    """The tasks of an answer as drafts, and a rejected row for each piece that could not be read."""
    form = question.form
    assert form is not None
    pieces = form.read(answer, cut=cut)
    if not pieces:
        return [draft.reject("parse", "empty", "the answer is empty", raw=answer)]
    found: list[Draft | Record] = []
    for piece in pieces:
        if isinstance(piece, Unread):
            found.append(unread(draft, piece))
        elif bad := unprintable("".join(piece)):
            found.append(draft.reject("parse", "unprintable", f"it has a {bad}", raw="\n".join(piece)))
        else:
            texts: dict[str, Any] = dict(zip(form.fields, piece, strict=True))
            found.append(replace(draft, **texts))
    return found


def unread(draft: Draft, piece: Unread) -> Record:
    """The rejected row for a piece of an answer."""
    return draft.reject("parse", "unread", f"a piece of the answer can't be read: {piece.reason}", raw=piece.text)


async def admitted(
    number: int, invent: Callable[[], Awaitable[list[Draft | Record]]], pool: Pool, rules: Filter
) -> list[Draft | Record]:
    """What a request invents, with a rejected row in place of each task that breaks a rule or is not new.

    The others are in the pool. If the request can't go on, then no later one can.
    """
    try:
        found = await invent()
        await pool.wait_for(number)
        judged = [each if isinstance(each, Record) else judge(each, pool, rules) for each in found]
    except BaseException as error:
        pool.close(error)
        raise
    pool.settle()
    return judged


def judge(draft: Draft, pool: Pool, rules: Filter) -> Draft | Record:
    """A task of the pool, or its rejection: Self-Instruct (Wang et al. 2022, section 2.2)."""
    complaint = rules.judge(Texts(draft.instruction))
    if complaint is not None:
        return draft.reject("filter", complaint.rule, printable(complaint.reason))
    match = pool.find(draft.instruction)
    if match is None:
        pool.add(draft.instruction)
        return draft
    where = {"out": "an instruction of the pool", "seeds": "a seed"}.get(match.source, match.source)
    reason = f"it is too near to {where} (ROUGE-L {match.score:.2f})"
    return draft.end(Rejection(stage="dedupe", rule="rouge-l", reason=reason, match=match))


def _entries(form: Form, content: str) -> Sequence[Entry]:
    return [piece for piece in form.read(content) if not isinstance(piece, Unread)]
