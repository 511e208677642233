"""What every command that asks opens: teachers, the store of answers, and the asker between them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from evolgen.answers import Unkept, output_digest
from evolgen.asking import Role
from evolgen.backends import Teacher
from evolgen.backends.teachers import Teachers
from evolgen.commands.command import Means
from evolgen.commands.common import Watch
from evolgen.config import EMBEDDED_MODEL, Endpoint
from evolgen.engine.ask import Asker
from evolgen.engine.budget import Spending
from evolgen.engine.sharing import Sharing
from evolgen.errors import UsageError
from evolgen.events import Fetching, Notice
from evolgen.pauses import Backoff
from evolgen.prices import Prices
from evolgen.store import Store

BATCH_SHARE = 0.5
"""What an answer costs in a batch, as a share of its price."""


def make_teachers(config: Endpoint, watch: Watch, means: Means) -> Teachers:
    """The teachers that a config names; nothing is asked, started or connected yet."""
    return Teachers(
        config,
        fetching=lambda *told: watch(Fetching(*told)),
        script=means.script,
        batches=(means.backoff or Backoff()) if _batch(config) else None,
        chat_template=getattr(config, "chat_template", None),
        tell=lambda text: watch(Notice(text)),
    )


def open_asker(
    stack: contextlib.ExitStack,
    config: Endpoint,
    watch: Watch,
    teachers: Teachers,
    roles: Mapping[Role, Teacher],
    *,
    prices: Prices,
    backoff: Backoff | None = None,
    paid_for: Path,
) -> Asker:
    """The store of a config and an asker over it, closed with `stack`; says so where nobody chose the model.

    `paid_for` is the output whose budgets hold.
    """
    store = Store(config.store) if all(teacher.variant is not None for teacher in roles.values()) else Unkept()
    stack.callback(store.close)
    if isinstance(store, Store):
        teachers.connect(store)
    if not teachers.named:
        watch(Notice(f"no --model given: using {EMBEDDED_MODEL}, which is there to try the pipeline"))
    if not _batch(config) and (open := sum(len(each.keys) for each in store.batches())):
        watch(Notice(f"the store waits for {open:,} questions in batches, which --batch would take up"))
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
        output=output_digest(paid_for),
        sharing=None if config.offline or isinstance(store, Unkept) else Sharing(config.store),
        timeout=config.timeout,
    )
    stack.callback(asker.close)
    return asker


def prices_of(config: Endpoint, roles: Mapping[Role, Teacher]) -> Prices:
    """The prices of all models that are asked; raises UsageError where a limit in dollars needs one that is unknown."""
    prices = Prices(config.prices, BATCH_SHARE if _batch(config) else 1.0)
    for teacher in roles.values():
        if teacher.free:
            prices.free(teacher.name)
        elif config.max_usd is not None and prices.of(teacher.name) is None:
            raise UsageError(f"--max-usd: the price of {teacher.name} is unknown; give it with --prices FILE")
    return prices


def _batch(config: Endpoint) -> bool:
    """Whether questions go out in batches; not every command that asks can wait so long."""
    return getattr(config, "batch", False)
