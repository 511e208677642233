"""`respond`: answers to instructions and conversations."""

from __future__ import annotations

from functools import partial

from evolgen.commands.command import Command, Means, Work
from evolgen.config.respond import RespondConfig


def prepare(config: RespondConfig, means: Means) -> Work:
    """Read the prompts; each visit is one answer to one of them."""
    from evolgen.commands.generate import Job, generate
    from evolgen.engine.commit import KnownAnswers
    from evolgen.formats.inputs import source_rows
    from evolgen.formats.prompts import read_prompts
    from evolgen.pipelines import respond as pipeline

    prompts = read_prompts(source_rows(config.inputs, "inputs", config.reading), pipeline.NAME, strict=config.strict)
    job = Job(
        name=pipeline.NAME,
        roles=("answer",),
        inputs=prompts,
        pipeline=lambda: partial(pipeline.respond, config=config),
        visits=lambda: pipeline.visits(prompts, config),
        known=KnownAnswers(),
        total=len(prompts) * config.samples,
        candidates=len(prompts) * config.samples,
    )
    return generate(job, config, means, reads=config.inputs)


RESPOND = Command(
    name="respond",
    help="Answer instructions and conversations.",
    config=RespondConfig,
    reads="inputs",
    prepare=prepare,
)
