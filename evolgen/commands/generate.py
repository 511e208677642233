"""Commands that ask and write rows: from a `Job`, which is all that tells one from another, to published files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from evolgen.asking import Ask, Role
from evolgen.commands.asking import make_teachers, open_asker, prices_of
from evolgen.commands.command import Means, Work
from evolgen.commands.common import (
    Watch,
    manifest,
    open_output,
    published,
    refuse_reading_what_is_written,
    with_shortfall,
)
from evolgen.commands.estimate import Scope, estimate, probe
from evolgen.config import Settings
from evolgen.engine.ask import Asker
from evolgen.engine.commit import Committer, Known
from evolgen.engine.ending import Ending
from evolgen.engine.generation import WIDTH_PER_SLOT, Generation
from evolgen.engine.output import Output, OutputFiles
from evolgen.engine.stdout import StandardOutput
from evolgen.engine.stopping import stopped_by
from evolgen.errors import Denied, Interrupted, Stopped
from evolgen.events import Planned
from evolgen.formats.inputs import Inputs
from evolgen.prompts import Template
from evolgen.records import Record
from evolgen.report.progress import ProgressFile
from evolgen.report.summary import Summary, summarize

T = TypeVar("T")

Pipeline: TypeAlias = Callable[[T, Ask], AsyncIterator[Record]]


@dataclass(frozen=True)
class Job(Generic[T]):
    """What a generating command does with its settings.

    `name` stands in its rows, `inputs` are what it read. `pipeline` makes a pipeline that has seen nothing yet,
    `visits` what it is run over: `total` of them, or, with a `target`, as many as it takes to have so many rows.
    `known` tells which rows repeat others. `rows_at_best` is how many rows a visit can give, `candidates` how many
    there will be without a target, and at least `width` lineages are open at once. `remedy` says what to change where
    these rules, the most frequent first, leave hardly any row.
    """

    name: str
    roles: tuple[Role, ...]
    inputs: Inputs[Any]
    pipeline: Callable[[], Pipeline[T]]
    visits: Callable[[], Iterator[T]]
    known: Known
    templates: Sequence[Template] = ()
    total: int | None = None
    target: int | None = None
    rows_at_best: int = 1
    candidates: int = 0
    keep: Literal["all", "last"] = "all"
    width: int = 0
    remedy: Callable[[Iterable[str]], str] = lambda rules: ""


def generate(job: Job[T], config: Settings, means: Means, *, reads: Iterable[Any]) -> Work:
    """The work of a generating command, or its estimate; `reads` is all that it reads.

    Raises UsageError for what is wrong before anything is asked.
    """
    refuse_reading_what_is_written(reads, config.out)
    session = Session(job, config, means)
    return session.prepare_estimate() if config.estimate else session.prepare()


class Session(Generic[T]):
    """What a generating command holds open, from its preparation to its end."""

    def __init__(self, job: Job[T], config: Settings, means: Means) -> None:
        self._job = job
        self._config = config
        self._means = means
        self._stack = contextlib.ExitStack()
        self._watch = Watch(means)
        self._teachers = make_teachers(config, self._watch, means)
        answer, judge = getattr(config, "answer_model", None), getattr(config, "judge_model", None)
        self._roles = self._teachers.by_role(job.roles, answer=answer, judge=judge)
        self._prices = prices_of(config, self._roles)

    def prepare(self) -> Work:
        """Open what the run needs; returns the rest of it."""
        job, config = self._job, self._config
        with contextlib.ExitStack() as self._stack:
            pipeline = job.pipeline()
            output = open_output(config.out, config, self._means)
            self._stack.callback(output.close)
            if isinstance(output, Output):
                progress = ProgressFile(output.at.progress, output.progress, self._watch.tally, job.target)
                self._watch.also(progress)
            asker = self._asker
            committer = Committer(output, self._watch, known=job.known, keep=job.keep, target=job.target)
            kept = self._stack.pop_all()
        return lambda: self._ended(kept, self._run(pipeline, output, asker, committer))

    def prepare_estimate(self) -> Work:
        """Open nothing, but what a probe asks with."""
        job, config = self._job, self._config
        most_kept = job.rows_at_best if job.keep == "last" else None
        scope = Scope(job.total, job.target, most_kept, self._roles, self._prices, config.batch)
        pipeline = job.pipeline()

        async def told() -> Summary:
            try:
                if config.probe is None:
                    range = await estimate(scope, job.pipeline, job.visits)
                else:
                    switch = self._means.run.stopping
                    range = await probe(
                        scope, pipeline, job.visits(), asker=self._asker, rows=config.probe, switch=switch
                    )
            except Stopped as stopped:
                return self._summary(ending=Ending.by(stopped))
            return self._summary().model_copy(update={"estimate": range})

        with contextlib.ExitStack() as self._stack:
            if config.probe is not None:
                _ = self._asker
            kept = self._stack.pop_all()
        return lambda: self._ended(kept, told())

    @cached_property
    def _asker(self) -> Asker:
        """Who answers, from the store or for money; the store is made when it is first needed."""
        return open_asker(
            self._stack,
            self._config,
            self._watch,
            self._teachers,
            self._roles,
            prices=self._prices,
            backoff=self._means.backoff,
            paid_for=self._means.paid_for or self._config.out,
        )

    def _ended(self, kept: contextlib.ExitStack, work: Awaitable[Summary]) -> Summary:
        """Do the work and close everything; a second stop ends it at once."""

        async def closing() -> Summary:
            try:
                return await work
            finally:
                await self._teachers.close()

        with kept:
            try:
                return asyncio.run(closing())
            except asyncio.CancelledError:
                at_once = "stopped at once; calls in flight were given up, what had come is stored"
                return self._summary(ending=Ending.by(Interrupted(at_once)))

    async def _run(
        self, pipeline: Pipeline[T], output: Output | StandardOutput, asker: Asker, committer: Committer
    ) -> Summary:
        """Run the pipeline over its visits and publish what came of it; raises where the command was wrong."""
        job, batch = self._job, self._config.batch
        self._watch(Planned(job.candidates, job.target))
        committer.reject_input(job.inputs.rejects())
        concurrency = max(teacher.concurrency for teacher in self._roles.values())
        generation = Generation(
            pipeline,
            asker,
            committer,
            width=max(job.width, concurrency * (1 if batch else WIDTH_PER_SLOT)),
            target=job.target,
            rows_at_best=job.rows_at_best,
            remedy=job.remedy,
        )
        with stopped_by(self._means.run.stopping, asker):
            await generation.run(job.visits())
        ending = asker.ending
        if ending is not None and ending.reason is not None and not ending.resumable:
            raise ending.reason
        if (refusal := asker.refused_alike()) is not None:
            raise Denied("refused", f"nothing but refusals: {refusal}")
        summary = with_shortfall(self._summary(generation.delivered, ending), rows_expected=True)
        return published(output, summary, self._manifest) if summary.published else summary

    def _summary(self, delivered: int = 0, ending: Ending | None = None) -> Summary:
        return summarize(
            self._watch.tally,
            command=self._means.name,
            pipeline=self._job.name,
            files=OutputFiles(self._config.out),
            store=self._config.store,
            stopped=None if ending is None or ending.reason is None else str(ending.reason),
            published=(ending is None or ending.publish) and not self._config.estimate,
            estimating=self._config.estimate,
            delivered=delivered,
            own_templates=tuple(template.name for template in self._job.templates if template.own),
            seconds=self._watch.seconds,
        )

    def _manifest(self, summary: Summary) -> dict[str, Any]:
        told = manifest(self._config, summary, self._watch.started, ("openai", "pydantic"), self._means)
        return told | {
            "models": {role: dict(teacher.identity) for role, teacher in self._roles.items()},
            "dropped": {model: sorted(parts) for model, parts in sorted(self._asker.dropped.items())},
            "prompts": {template.name: template.digest for template in self._job.templates},
            "prices": self._prices.dates,
        }
