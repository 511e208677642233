"""A run that asks and writes: what it holds open, and how it goes from lineages to published files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from evolgen.api.asking import open_asker, open_teachers
from evolgen.api.common import Watch, manifest
from evolgen.api.estimating import Plan, estimate
from evolgen.asking import Ask, Role
from evolgen.backends import Teacher
from evolgen.backends.scripted import Script
from evolgen.config import Settings
from evolgen.engine.ask import Asker
from evolgen.engine.commit import Committer
from evolgen.engine.events import Observer
from evolgen.engine.limits import Backoff
from evolgen.engine.output import Output
from evolgen.engine.run import WIDTH_PER_SLOT, Run
from evolgen.errors import Stopped
from evolgen.prices import Prices
from evolgen.records import Record
from evolgen.report.progress import ProgressFile
from evolgen.report.summary import Summary, summarize

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """What a run holds open; `target` is how many rows it is to give, if that was said."""

    name: str
    config: Settings
    target: int | None
    watch: Watch
    roles: Mapping[Role, Teacher]
    output: Output
    asker: Asker

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
            width=max(width, concurrency * WIDTH_PER_SLOT),
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
    ) -> Summary:
        """Say what a run would take, over `total` visits or to its target, instead of running it."""
        prices = self.watch.prices or Prices()
        told = await estimate(Plan(total, self.target, self.roles, prices), pipeline, visits)
        summary = summarize(
            self.watch.tally,
            pipeline=self.name,
            files=self.output.files,
            store=self.config.store,
            seconds=time.time() - self.watch.started,
            prices=prices,
        )
        return summary.model_copy(update={"published": False, "estimate": told})

    def _finish(self, prompts: Mapping[str, str], delivered: int) -> Summary:
        stopped = self.asker.stopped
        if stopped is not None and stopped.exit_code != Stopped.exit_code:
            raise stopped
        summary = summarize(
            self.watch.tally,
            pipeline=self.name,
            files=self.output.files,
            store=self.config.store,
            stopped=stopped,
            delivered=delivered,
            prices=self.watch.prices,
            seconds=time.time() - self.watch.started,
        )
        if summary.published:
            models = {role: dict(teacher.identity) for role, teacher in self.roles.items()}
            prices = {} if self.watch.prices is None else self.watch.prices.dates
            told = manifest(self.config, summary, self.watch.started, ("openai", "pydantic"))
            self.output.publish(told | {"models": models, "prompts": dict(prompts), "prices": prices})
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
    """Open the teachers of some roles, output and store, and have `stack` close them in the opposite order."""
    watch = Watch(observer)
    teachers = open_teachers(stack, config, watch, script)
    by_role = teachers.by_role(answer=config.answer_model, judge=config.judge_model)
    by_role = {role: by_role[role] for role in roles}
    output = Output(config.out, force=config.force)
    stack.callback(output.close)
    progress = ProgressFile(output.files.progress, watch.tally, target)
    stack.callback(progress.close)
    watch.also(progress)
    asker = open_asker(stack, config, watch, teachers, by_role, backoff=backoff)
    return Session(name, config, target, watch, by_role, output, asker)
