"""`evolve`: Evol-Instruct from seeds to a dataset."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from evolgen.commands.command import Command, Means, Work
from evolgen.config.evolve import EvolveConfig
from evolgen.report import closing

if TYPE_CHECKING:
    from evolgen.pipelines.evol_instruct import Templates


def prepare(config: EvolveConfig, means: Means) -> Work:
    """Read the seeds; each visit to one is a lineage."""
    from evolgen.commands.generate import Job, generate
    from evolgen.engine.commit import KnownQuestions
    from evolgen.formats.inputs import source_rows
    from evolgen.formats.seeds import read_seeds
    from evolgen.pipelines import evol_instruct

    templates = load(config)
    seeds = read_seeds(source_rows(config.seeds, "seeds", config.reading), evol_instruct.NAME, strict=config.strict)
    job = Job(
        name=evol_instruct.NAME,
        roles=("evolve", "judge", "answer"),
        inputs=seeds,
        pipeline=lambda: partial(evol_instruct.evolve, config=config, templates=templates),
        visits=lambda: evol_instruct.visits(seeds, config),
        known=KnownQuestions(seeds),
        templates=templates.all(),
        total=len(seeds),
        target=config.n,
        rows_at_best=(config.rounds if config.keep == "all" else 1) + config.include_seeds,
        candidates=len(seeds) * (config.rounds + config.include_seeds),
        keep=config.keep,
        remedy=lambda rules: "give more seeds, other operators or another model",
    )
    return generate(job, config, means, reads=config.seeds)


def load(config: EvolveConfig) -> Templates:
    """The templates; raises UsageError for operators or templates that there aren't."""
    from evolgen.pipelines import evol_instruct
    from evolgen.prompts import PromptLibrary

    return evol_instruct.load(config, PromptLibrary(config.prompts, named=config.operators or ()))


EVOLVE = Command(
    name="evolve",
    help="Evolve seed instructions and answer them (Evol-Instruct).",
    config=EvolveConfig,
    reads="seeds",
    prepare=prepare,
    check=load,
    closing=closing.evolution,
)
