"""`self_instruct`: new tasks from a few seed tasks, as Self-Instruct or as Alpaca grows them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

from evolgen.api.common import configured, refuse_reading_what_is_written, run_sync
from evolgen.api.session import open_session
from evolgen.asking import Ask
from evolgen.backends.scripted import Script
from evolgen.config import SelfInstructConfig
from evolgen.curate.filters.catalogue import RULES
from evolgen.curate.filters.selection import select
from evolgen.curate.novelty import NoveltyIndex
from evolgen.curate.tokens import TOKENIZERS
from evolgen.engine.commit import Committer, KnownAnswers
from evolgen.engine.events import Observer, Planned
from evolgen.formats.inputs import Inputs, source_rows, viewed
from evolgen.formats.seeds import instruction_of, read_seeds
from evolgen.pauses import Backoff
from evolgen.pipelines import alpaca
from evolgen.pipelines import self_instruct as stages
from evolgen.pipelines.pool import Pool
from evolgen.prompts import PromptLibrary
from evolgen.records import Record, Seed, record_id
from evolgen.report.summary import Summary

REMEDIES = {
    "rouge-l": "the teacher repeats itself: give more or more varied seeds, a higher --temperature or --threshold, or "
    "another model",
    "unread": "the teacher does not write lists that can be read: try another model, or --completion for a base model",
    "cut": "its answers are too long: a higher --max-tokens, or another model",
}
"""What to change where one rule leaves hardly any row."""


def self_instruct(
    config: SelfInstructConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Summary:
    """Grow new tasks from seed tasks until `n` rows are accepted: what `evolgen self-instruct` does.

    Takes the settings of `SelfInstructConfig`, as a whole or by name: `self_instruct(seeds="seed_tasks.jsonl",
    out="tasks.jsonl", n=1000, model="...")`. For `script`, `observer`, what it returns and raises see `evolve`.
    """
    return run_sync(self_instruct_async(config, script=script, observer=observer, **settings))


async def self_instruct_async(
    config: SelfInstructConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    backoff: Backoff | None = None,
    **settings: Any,
) -> Summary:
    """`self_instruct`, for programs that have an event loop; `backoff` sets the pauses between attempts."""
    config = configured(SelfInstructConfig, config, settings)
    plan = plan_of(config)
    refuse_reading_what_is_written([*config.seeds, *config.against], config.out)
    seeds = read_seeds(source_rows(config.seeds, "seeds"), config.style, strict=config.strict)
    pool = _pool(config, seeds)
    four_stages = not isinstance(plan, alpaca.Plan)
    async with contextlib.AsyncExitStack() as stack:
        session = open_session(
            stack,
            config.style,
            config,
            roles=("invent", "judge", "answer") if four_stages else ("invent",),
            target=config.n,
            script=script,
            observer=observer,
            backoff=backoff,
        )
        if config.estimate:
            return await session.estimate(lambda: _pipeline(plan, _pool(config, seeds)), itertools.count)
        session.watch(Planned(0, config.n, session.watch.prices))
        committer = Committer(session.output, session.watch, known=KnownAnswers(), target=config.n)
        committer.reject_input(seeds.rejects())
        return await session.run(
            _pipeline(plan, pool),
            itertools.count(),
            committer,
            prompts=plan.prompts(),
            rows_at_best=plan.rows_at_best,
            width=config.lag,
            remedy=_remedy,
        )


def plan_of(config: SelfInstructConfig) -> stages.Plan | alpaca.Plan:
    """What a run with these settings asks; raises UsageError for rules or templates that there aren't."""
    prompts = PromptLibrary(config.prompts)
    shared: dict[str, Any] = {
        "rules": select([config.style], no_rule=config.no_rule),
        "completion": config.completion,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens,
    }
    if config.style == "alpaca":
        return alpaca.make_plan(prompts, **shared)
    return stages.make_plan(prompts, lag=config.lag, seed=config.seed, **shared)


def _pipeline(plan: stages.Plan | alpaca.Plan, pool: Pool) -> Callable[[int, Ask], AsyncIterator[Record]]:
    if isinstance(plan, alpaca.Plan):
        return partial(alpaca.grow, plan=plan, pool=pool)
    return partial(stages.grow, plan=plan, pool=pool)


def _pool(config: SelfInstructConfig, seeds: Inputs[Seed]) -> Pool:
    """The seeds and the instructions of --against, from which all that is generated must differ."""
    known = NoveltyIndex(config.threshold, TOKENIZERS[config.tokenizer])
    pool = Pool(seeds, known, seed=config.seed, shown=lambda seed: config.style == "self-instruct" or bool(seed.output))
    for row in source_rows(config.against, "against"):
        instruction, input = viewed(row, instruction_of, fatal="--against")
        known.add(instruction, record_id(instruction, input), row.place)
    return pool


def _remedy(rules: Iterable[str]) -> str:
    """What to change, by the rule that rejects most."""
    for rule in rules:
        if rule in REMEDIES:
            return REMEDIES[rule]
        if rule in RULES:
            return f"give other seeds or another model, or leave that rule out with --no-rule {rule}"
    return "give other seeds or another model"
