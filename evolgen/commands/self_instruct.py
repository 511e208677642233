"""`self-instruct`: new tasks from a few seed tasks, as Self-Instruct or as Alpaca grows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from evolgen.commands.command import Command, Means, Work
from evolgen.config.self_instruct import SelfInstructConfig

if TYPE_CHECKING:
    from evolgen.formats.inputs import Inputs
    from evolgen.pipelines.pool import Pool
    from evolgen.records import Seed

REMEDIES = {
    "rouge-l": "the teacher repeats itself: give more or more varied seeds, a higher --temperature or --threshold, or "
    "another model",
    "unread": "the teacher does not write lists that can be read: try another model, or --completion for a base model",
    "cut": "its answers are too long: a higher --max-tokens, or another model",
}
"""What to change where one rule leaves hardly any row."""


def prepare(config: SelfInstructConfig, means: Means) -> Work:
    """Read the seeds; each visit is a request of its number, and the pool grows from what they give."""
    from evolgen.commands.generate import Job, generate
    from evolgen.engine.commit import KnownAnswers
    from evolgen.formats.inputs import source_rows
    from evolgen.formats.seeds import read_seeds

    style, stages = _style(config), load(config)
    seeds = read_seeds(source_rows(config.seeds, "seeds", config.reading), style.NAME, strict=config.strict)
    job = Job(
        name=style.NAME,
        roles=style.ROLES,
        inputs=seeds,
        pipeline=lambda: partial(style.grow, config=config, stages=stages, pool=_pool(config, seeds)),
        visits=itertools.count,
        known=KnownAnswers(),
        templates=stages.templates(),
        target=config.n,
        rows_at_best=style.ROWS_AT_BEST,
        width=config.lag,
        remedy=_remedy,
    )
    return generate(job, config, means, reads=[*config.seeds, *config.against])


def load(config: SelfInstructConfig) -> Any:
    """What is asked; raises UsageError for rules or templates that there aren't."""
    from evolgen.curate.filters.selection import select
    from evolgen.prompts import PromptLibrary

    rules = select([config.style], no_rule=config.no_rule)
    return _style(config).load(config, PromptLibrary(config.prompts), rules)


def _style(config: SelfInstructConfig) -> Any:
    """The pipeline of a style; all have NAME, ROLES, ROWS_AT_BEST, load and grow."""
    from evolgen.pipelines import alpaca, self_instruct

    return alpaca if config.style == "alpaca" else self_instruct


def _pool(config: SelfInstructConfig, seeds: Inputs[Seed]) -> Pool:
    """The seeds and the instructions of --against, from which all that is generated must differ."""
    from evolgen.curate.novelty import NoveltyIndex
    from evolgen.curate.tokens import TOKENIZERS
    from evolgen.formats.inputs import source_rows, viewed
    from evolgen.formats.seeds import instruction_of
    from evolgen.pipelines.pool import Pool
    from evolgen.records import record_id

    known = NoveltyIndex(config.threshold, TOKENIZERS[config.tokenizer])
    pool = Pool(seeds, known, seed=config.seed, shown=lambda seed: config.style == "self-instruct" or bool(seed.output))
    for row in source_rows(config.against, "against", config.reading):
        instruction, input = viewed(row, instruction_of, fatal="--against")
        known.add(instruction, record_id(instruction, input), row.place)
    return pool


def _remedy(rules: Iterable[str]) -> str:
    """What to change, by the rule that rejects most."""
    from evolgen.curate.filters.catalogue import RULES

    for rule in rules:
        if rule in REMEDIES:
            return REMEDIES[rule]
        if rule in RULES:
            return f"give other seeds or another model, or leave that rule out with --no-rule {rule}"
    return "give other seeds or another model"


SELF_INSTRUCT = Command(
    name="self-instruct",
    help="Grow new tasks from a few seed tasks (Self-Instruct, Alpaca).",
    config=SelfInstructConfig,
    reads="seeds",
    prepare=prepare,
    check=load,
)
