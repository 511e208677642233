"""Embeddings of texts for semantic dedupe, asked for like any other answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from evolgen.api.common import Watch
from evolgen.backends.scripted import Script
from evolgen.backends.teachers import Teachers
from evolgen.config import Endpoint
from evolgen.engine.ask import Asker
from evolgen.engine.embed import Embedded, embed_all
from evolgen.engine.events import Fetching
from evolgen.store import Store


async def embed_texts(config: Endpoint, texts: Sequence[str], *, script: Script | None, watch: Watch) -> Embedded:
    """The embeddings of texts by the model of a config; raises what the asking was stopped by."""
    async with contextlib.AsyncExitStack() as stack:
        teachers = Teachers(config, fetching=lambda *told: watch(Fetching(*told)), script=script)
        stack.push_async_callback(teachers.close)
        teacher = teachers.get(teachers.default)
        store = Store(config.store)
        stack.callback(store.close)
        asker = Asker(
            store,
            {"embed": teacher},
            watch,
            attempts=config.attempts,
            offline=config.offline,
            max_requests=config.max_requests,
        )
        stack.callback(asker.close)
        return await embed_all(asker, texts)
