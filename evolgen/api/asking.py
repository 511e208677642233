"""What every command that asks opens: teachers, the store of answers, and the asker between them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from evolgen.api.common import Watch
from evolgen.asking import Role
from evolgen.backends import Teacher
from evolgen.backends.scripted import Script
from evolgen.backends.teachers import Teachers
from evolgen.config import EMBEDDED_MODEL, Endpoint
from evolgen.engine.ask import Asker
from evolgen.engine.budget import Spending
from evolgen.engine.embed import Embedded, embed_all
from evolgen.engine.events import Fetching, Notice
from evolgen.errors import UsageError
from evolgen.pauses import Backoff
from evolgen.prices import Prices
from evolgen.store import Store, Unkept

BATCH_SHARE = 0.5
"""What an answer costs in a batch, as a share of its price."""


def open_teachers(
    stack: contextlib.AsyncExitStack,
    config: Endpoint,
    watch: Watch,
    script: Script | None,
    *,
    batches: Backoff | None = None,
    chat_template: str | None = None,
) -> Teachers:
    """The teachers of a config, closed with `stack`; `batches` are the pauses between looks at them, if they are asked
    so.
    """
    teachers = Teachers(
        config,
        fetching=lambda *told: watch(Fetching(*told)),
        script=script,
        batches=batches,
        chat_template=chat_template,
        tell=lambda text: watch(Notice(text)),
    )
    stack.push_async_callback(teachers.close)
    return teachers


def open_asker(
    stack: contextlib.AsyncExitStack,
    config: Endpoint,
    watch: Watch,
    teachers: Teachers,
    roles: Mapping[Role, Teacher],
    *,
    backoff: Backoff | None = None,
    batch: bool = False,
) -> Asker:
    """The store of a config and an asker over it, closed with `stack`; says so where nobody chose the model."""
    store = Store(config.store) if all(teacher.variant is not None for teacher in roles.values()) else Unkept()
    stack.callback(store.close)
    if not teachers.named:
        watch(Notice(f"no --model given: using {EMBEDDED_MODEL}, which is there to try the pipeline"))
    if not batch and (open := sum(len(each.keys) for each in store.batches())):
        watch(Notice(f"the store waits for {open:,} questions in batches, which --batch would take up"))
    prices = watch.prices = watch.prices or prices_of(config, roles)
    asker = Asker(
        store,
        roles,
        watch,
        attempts=config.attempts,
        backoff=backoff,
        patience=config.wait_for_teacher,
        give_up=config.give_up,
        offline=config.offline,
        spending=Spending(
            config.max_requests,
            config.max_total_tokens,
            config.max_usd,
            {role: prices.of(teacher.name) for role, teacher in roles.items()},
        ),
    )
    stack.callback(asker.close)
    return asker


def prices_of(config: Endpoint, roles: Mapping[Role, Teacher], *, batch: bool = False) -> Prices:
    """The prices of all models that are asked; raises UsageError where a limit in dollars needs one that is unknown."""
    prices = Prices(config.prices, BATCH_SHARE if batch else 1.0)
    for teacher in roles.values():
        if teacher.free:
            prices.free(teacher.name)
        elif config.max_usd is not None and prices.of(teacher.name) is None:
            raise UsageError(f"--max-usd: the price of {teacher.name} is unknown; give it with --prices FILE")
    return prices


async def embed_texts(config: Endpoint, texts: Sequence[str], *, script: Script | None, watch: Watch) -> Embedded:
    """The embeddings of texts by the model of a config; raises what the asking was stopped by."""
    async with contextlib.AsyncExitStack() as stack:
        teachers = open_teachers(stack, config, watch, script)
        asker = open_asker(stack, config, watch, teachers, {"embed": teachers.get(teachers.default)})
        return await embed_all(asker, texts)
