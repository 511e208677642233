"""`respond`: answers to instructions and conversations."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from evolgen.api.common import configured, refuse_reading_what_is_written, run_sync
from evolgen.api.session import open_session
from evolgen.backends.scripted import Script
from evolgen.config import RespondConfig
from evolgen.engine.commit import Committer, KnownAnswers
from evolgen.engine.events import Observer, Planned
from evolgen.formats.inputs import source_rows
from evolgen.formats.prompts import read_prompts
from evolgen.pauses import Backoff
from evolgen.pipelines import respond as pipeline
from evolgen.report.summary import Summary


def respond(
    config: RespondConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Summary:
    """Answer prompts: what `evolgen respond` does.

    Takes the settings of `RespondConfig`, as a whole or by name: `respond(inputs="prompts.jsonl", out="answers.jsonl",
    samples=4, model="...")`. For `script`, `observer`, what it returns and raises see `evolve`.
    """
    return run_sync(respond_async(config, script=script, observer=observer, **settings))


async def respond_async(
    config: RespondConfig | None = None,
    /,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    backoff: Backoff | None = None,
    **settings: Any,
) -> Summary:
    """`respond`, for programs that have an event loop; `backoff` sets the pauses between attempts."""
    config = configured(RespondConfig, config, settings)
    plan = pipeline.Plan(
        config.system,
        pipeline.TEMPERATURE if config.temperature is None else config.temperature,
        pipeline.TOP_P if config.top_p is None else config.top_p,
        config.max_tokens,
    )
    refuse_reading_what_is_written(config.inputs, config.out)
    prompts = read_prompts(source_rows(config.inputs, "inputs"), pipeline.NAME, strict=config.strict)
    async with contextlib.AsyncExitStack() as stack:
        session = open_session(
            stack,
            pipeline.NAME,
            config,
            roles=("answer",),
            script=script,
            observer=observer,
            backoff=backoff,
        )
        if config.estimate:
            return await session.estimate(
                lambda: partial(pipeline.respond, plan=plan),
                lambda: (pipeline.Visit(prompt) for prompt in prompts),
                total=len(prompts) * config.samples,
            )
        session.watch(Planned(len(prompts) * config.samples, None, session.watch.prices))
        committer = Committer(session.output, session.watch, known=KnownAnswers())
        committer.reject_input(prompts.rejects())
        visits = (pipeline.Visit(prompt, sample) for sample in range(config.samples) for prompt in prompts)
        return await session.run(partial(pipeline.respond, plan=plan), visits, committer, prompts={})
