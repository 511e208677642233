"""`evolve`: Evol-Instruct from seeds to a dataset, synchronous over an async core."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from evolgen.api.asking import open_asker, open_teachers
from evolgen.api.common import Watch, configured, manifest, refuse_reading_what_is_written, run_sync
from evolgen.asking import Role
from evolgen.backends import Teacher
from evolgen.backends.scripted import Script
from evolgen.config import EvolveConfig
from evolgen.engine.ask import Asker
from evolgen.engine.commit import Committer
from evolgen.engine.events import Observer, Planned
from evolgen.engine.limits import Backoff
from evolgen.engine.output import Output
from evolgen.engine.run import Run
from evolgen.errors import Stopped
from evolgen.formats.seeds import Seeds, source_rows
from evolgen.pipelines import evol_instruct
from evolgen.pipelines.evol_instruct import Visit
from evolgen.prompts import PromptLibrary
from evolgen.report.progress import ProgressFile
from evolgen.report.summary import Summary, summarize


def evolve(
    config: EvolveConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Summary:
    """Evolve seed instructions and answer them (Evol-Instruct): what `evolgen evolve` does.

    Takes the settings of `EvolveConfig`, as a whole or by name: `evolve(seeds="seeds.jsonl", out="evolved.jsonl",
    model="...", rounds=4)`. `script` is a function that answers in a teacher's place; `observer` is called with each
    event of the run. Raises EvolgenError where the settings or the input are wrong; a run that stops early
    returns a Summary with `complete` false and the reason in `stopped`.
    """
    return run_sync(evolve_async(config, script=script, observer=observer, **settings))


async def evolve_async(
    config: EvolveConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    backoff: Backoff | None = None,
    **settings: Any,
) -> Summary:
    """`evolve`, for programs that have an event loop; `backoff` sets the pauses between attempts."""
    config = configured(EvolveConfig, config, settings)
    plan = _plan(config)
    refuse_reading_what_is_written(config.seeds, config.out)
    seeds = Seeds(source_rows(config.seeds), evol_instruct.NAME, strict=config.strict)
    async with contextlib.AsyncExitStack() as stack:
        session = _open(stack, config, script, observer, backoff)
        session.watch(Planned(len(seeds) * (config.rounds + config.include_seeds), config.n))
        committer = Committer(session.output, session.watch, seeds=seeds, keep=config.keep, target=config.n)
        committer.reject_input(seeds.rejects())
        run = Run(
            partial(evol_instruct.evolve, plan=plan),
            session.asker,
            committer,
            concurrency=max(teacher.concurrency for teacher in session.roles.values()),
            target=config.n,
            rows_at_best=(config.rounds if config.keep == "all" else 1) + config.include_seeds,
        )
        await run.run(_visits(seeds, plan, config.n))
        return session.finish(config, plan, run.delivered)


def _plan(config: EvolveConfig) -> evol_instruct.Plan:
    return evol_instruct.make_plan(
        PromptLibrary(config.prompts),
        weights=config.operators,
        no_rule=config.no_rule,
        temperature=config.temperature,
        top_p=config.top_p,
        rounds=config.rounds,
        seed=config.seed,
        include_seeds=config.include_seeds,
        max_tokens=config.max_tokens,
    )


@dataclass(frozen=True)
class _Session:
    """What a run holds open."""

    watch: Watch
    roles: Mapping[Role, Teacher]
    output: Output
    asker: Asker

    def finish(self, config: EvolveConfig, plan: evol_instruct.Plan, delivered: int) -> Summary:
        """Publish what came of the run; raises where it was stopped because the command was wrong."""
        stopped = self.asker.stopped
        if stopped is not None and stopped.exit_code != Stopped.exit_code:
            raise stopped
        summary = summarize(
            self.watch.tally,
            pipeline=evol_instruct.NAME,
            files=self.output.files,
            store=config.store,
            stopped=stopped,
            delivered=delivered,
            seconds=time.time() - self.watch.started,
        )
        if summary.published:
            models = {role: dict(teacher.identity) for role, teacher in self.roles.items()}
            told = manifest(config, summary, self.watch.started, ("openai", "pydantic"))
            self.output.publish(told | {"models": models, "prompts": dict(plan.prompts())})
        return summary


def _open(
    stack: contextlib.AsyncExitStack,
    config: EvolveConfig,
    script: Script | None,
    observer: Observer | None,
    backoff: Backoff | None,
) -> _Session:
    """Open teachers, output and store, and have `stack` close them in the opposite order."""
    watch = Watch(observer)
    teachers = open_teachers(stack, config, watch, script)
    roles = teachers.by_role(answer=config.answer_model, judge=config.judge_model)
    output = Output(config.out, force=config.force)
    stack.callback(output.close)
    progress = ProgressFile(output.files.progress, watch.tally, config.n)
    stack.callback(progress.close)
    watch.also(progress)
    return _Session(watch, roles, output, open_asker(stack, config, watch, teachers, roles, backoff=backoff))


def _visits(seeds: Seeds, plan: evol_instruct.Plan, target: int | None) -> Iterator[Visit]:
    """Who is visited in which order: each seed once, or, with a target, pass after pass in a drawn order.

    The order is drawn from each seed's own digest, so that adding a seed leaves the others as they were.
    """
    if target is None:
        yield from (Visit(seed) for seed in seeds)
        return
    for number in itertools.count():
        draws = [plan.draw(Visit(seed, number), 0, "order") for seed in seeds]
        for position in sorted(range(len(draws)), key=draws.__getitem__):
            yield Visit(seeds[position], number)
