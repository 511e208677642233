"""A run that asks and writes: what it holds open, and how it goes from lineages to published files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from evolgen.api.asking import open_asker, open_teachers, prices_of
from evolgen.api.common import Watch, manifest
from evolgen.api.estimating import Plan, estimate, probe
from evolgen.asking import Ask, Role
from evolgen.backends import Teacher
from evolgen.backends.scripted import Script
from evolgen.backends.teachers import Teachers
from evolgen.config import Settings
from evolgen.engine.ask import Asker
from evolgen.engine.commit import Committer
from evolgen.engine.events import Observer
from evolgen.engine.output import Output, OutputFiles
from evolgen.engine.run import WIDTH_PER_SLOT, Run
from evolgen.errors import EvolgenError, Stopped
from evolgen.pauses import Backoff
from evolgen.prices import Prices
from evolgen.records import Record
from evolgen.report.progress import ProgressFile
from evolgen.report.summary import Summary, summarize

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """What a run holds open until `stack` is closed; `target` is how many rows it is to give, if that was said."""

    stack: contextlib.AsyncExitStack
    name: str
    config: Settings
    target: int | None
    watch: Watch
    teachers: Teachers
    roles: Mapping[Role, Teacher]
    prices: Prices
    backoff: Backoff | None

    @cached_property
    def output(self) -> Output:
        """The files that the run writes, and the one that says how far it is; made when they are first needed."""
        output = Output(self.config.out, force=self.config.force)
        self.stack.callback(output.close)
        progress = ProgressFile(output.files.progress, self.watch.tally, self.target)
        self.stack.callback(progress.close)
        self.watch.also(progress)
        return output

    @cached_property
    def asker(self) -> Asker:
        """Who answers, from the store or for money; the store is made when it is first needed."""
        return open_asker(
            self.stack,
            self.config,
            self.watch,
            self.teachers,
            self.roles,
            backoff=self.backoff,
            batch=self.config.batch,
        )

    async def run(
        self,
        pipeline: Callable[[T, Ask], AsyncIterator[Record]],
        visits: Iterator[T],
        committer: Committer,
        *,
        prompts: Mapping[str, str],
        rows_at_best: int = 1,
        width: int = 0,
        remedy: Callable[[Iterable[str]], str] = lambda rules: "",
    ) -> Summary:
        """Run a pipeline over its visits and publish what came of it.

        `prompts` are the digests of the templates; at least `width` lineages are open at once. For the others see
        `Run`. Raises where the run was stopped because the command was wrong.
        """
        concurrency = max(teacher.concurrency for teacher in self.roles.values())
        run = Run(
            pipeline,
            self.asker,
            committer,
            width=max(width, concurrency * (1 if self.config.batch else WIDTH_PER_SLOT)),
            target=self.target,
            rows_at_best=rows_at_best,
            remedy=remedy,
        )
        await run.run(visits)
        return self._finish(prompts, run.delivered)

    async def estimate(
        self,
        pipeline: Callable[[], Callable[[T, Ask], AsyncIterator[Record]]],
        visits: Callable[[], Iterator[T]],
        *,
        total: int | None = None,
        rows_at_best: int = 10**9,
    ) -> Summary:
        """Say what a run would take, over `total` visits or to its target, instead of running it."""
        plan = Plan(total, self.target, rows_at_best, self.roles, self.prices, self.config.batch)
        if self.config.probe is None:
            told = await estimate(plan, pipeline, visits)
        else:
            told = await probe(plan, pipeline(), visits(), self.asker, self.config.probe)
        summary = self._summary()
        return summary.model_copy(update={"published": False, "estimate": told})

    def _summary(self, delivered: int = 0, stopped: EvolgenError | None = None) -> Summary:
        return summarize(
            self.watch.tally,
            pipeline=self.name,
            files=OutputFiles(self.config.out),
            store=self.config.store,
            stopped=stopped,
            delivered=delivered,
            prices=self.prices,
            seconds=time.time() - self.watch.started,
        )

    def _finish(self, prompts: Mapping[str, str], delivered: int) -> Summary:
        stopped = self.asker.stopped
        if stopped is not None and stopped.exit_code != Stopped.exit_code:
            raise stopped
        summary = self._summary(delivered, stopped)
        if summary.published:
            models = {role: dict(teacher.identity) for role, teacher in self.roles.items()}
            told = manifest(self.config, summary, self.watch.started, ("openai", "pydantic"))
            self.output.publish(told | {"models": models, "prompts": dict(prompts), "prices": self.prices.dates})
        return summary


def open_session(
    stack: contextlib.AsyncExitStack,
    name: str,
    config: Settings,
    *,
    roles: Sequence[Role],
    target: int | None = None,
    script: Script | None,
    observer: Observer | None,
    backoff: Backoff | None,
) -> Session:
    """What a run over the teachers of some roles needs; `stack` closes what it opens in the opposite order."""
    watch = Watch(observer)
    batches = (backoff or Backoff()) if config.batch else None
    teachers = open_teachers(stack, config, watch, script, batches=batches, chat_template=config.chat_template)
    by_role = teachers.by_role(answer=config.answer_model, judge=config.judge_model)
    by_role = {role: by_role[role] for role in roles}
    prices = watch.prices = prices_of(config, by_role, batch=config.batch)
    return Session(stack, name, config, target, watch, teachers, by_role, prices, backoff)
