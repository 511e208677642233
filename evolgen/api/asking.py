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
from evolgen.engine.limits import Backoff
from evolgen.errors import UsageError
from evolgen.prices import Prices
from evolgen.store import Store


def open_teachers(stack: contextlib.AsyncExitStack, config: Endpoint, watch: Watch, script: Script | None) -> Teachers:
    """The teachers of a config, closed with `stack`."""
    teachers = Teachers(config, fetching=lambda *told: watch(Fetching(*told)), script=script)
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
) -> Asker:
    """The store of a config and an asker over it, closed with `stack`; says so where nobody chose the model."""
    store = Store(config.store)
    stack.callback(store.close)
    if not teachers.named:
        watch(Notice(f"no --model given: using {EMBEDDED_MODEL}, which is there to try the pipeline"))
    prices = watch.prices = Prices(config.prices)
    for teacher in roles.values():
        if teacher.free:
            prices.free(teacher.name)
        elif config.max_usd is not None and prices.of(teacher.name) is None:
            raise UsageError(f"--max-usd: the price of {teacher.name} is unknown; give it with --prices FILE")
    asker = Asker(
        store,
        roles,
        watch,
        attempts=config.attempts,
        backoff=backoff,
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


async def embed_texts(config: Endpoint, texts: Sequence[str], *, script: Script | None, watch: Watch) -> Embedded:
    """The embeddings of texts by the model of a config; raises what the asking was stopped by."""
    async with contextlib.AsyncExitStack() as stack:
        teachers = open_teachers(stack, config, watch, script)
        asker = open_asker(stack, config, watch, teachers, {"embed": teachers.get(teachers.default)})
        return await embed_all(asker, texts)
