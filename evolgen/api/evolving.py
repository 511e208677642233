"""`evolve`: Evol-Instruct from seeds to a dataset, synchronous over an async core."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

from evolgen.api.common import configured, refuse_reading_what_is_written, run_sync
from evolgen.api.session import open_session
from evolgen.backends.scripted import Script
from evolgen.config import EvolveConfig
from evolgen.engine.commit import Committer, KnownQuestions
from evolgen.engine.events import Observer, Planned
from evolgen.formats.inputs import Inputs, source_rows
from evolgen.formats.seeds import read_seeds
from evolgen.pauses import Backoff
from evolgen.pipelines import evol_instruct
from evolgen.pipelines.evol_instruct import Visit
from evolgen.prompts import PromptLibrary
from evolgen.records import Seed
from evolgen.report.summary import Summary


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
    plan = plan_of(config)
    refuse_reading_what_is_written(config.seeds, config.out)
    seeds = read_seeds(source_rows(config.seeds, "seeds"), evol_instruct.NAME, strict=config.strict)
    async with contextlib.AsyncExitStack() as stack:
        session = open_session(
            stack,
            evol_instruct.NAME,
            config,
            roles=("evolve", "judge", "answer"),
            target=config.n,
            script=script,
            observer=observer,
            backoff=backoff,
        )
        rows_at_best = (config.rounds if config.keep == "all" else 1) + config.include_seeds
        if config.estimate:
            return await session.estimate(
                lambda: partial(evol_instruct.evolve, plan=plan),
                lambda: _visits(seeds, plan, config.n),
                total=len(seeds),
                rows_at_best=rows_at_best,
            )
        session.watch(Planned(len(seeds) * (config.rounds + config.include_seeds), config.n, session.watch.prices))
        committer = Committer(
            session.output, session.watch, known=KnownQuestions(seeds), keep=config.keep, target=config.n
        )
        committer.reject_input(seeds.rejects())
        return await session.run(
            partial(evol_instruct.evolve, plan=plan),
            _visits(seeds, plan, config.n),
            committer,
            prompts=plan.prompts(),
            rows_at_best=rows_at_best,
            remedy=lambda rules: "give more seeds, other operators or another model",
        )


def plan_of(config: EvolveConfig) -> evol_instruct.Plan:
    """What a run with these settings asks; raises UsageError for operators or templates that there aren't."""
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


def _visits(seeds: Inputs[Seed], plan: evol_instruct.Plan, target: int | None) -> Iterator[Visit]:
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
