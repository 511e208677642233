"""The embeddings of a curating command's texts, asked for like everything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from evolgen.asking import Role
from evolgen.backends import Teacher
from evolgen.commands.asking import make_teachers, open_asker, prices_of
from evolgen.commands.curate import Curation
from evolgen.config.dedupe import DedupeConfig
from evolgen.engine.embed import Embedded, embed_all
from evolgen.engine.stopping import stopped_by
from evolgen.errors import Interrupted


def embed_texts(config: DedupeConfig, texts: Sequence[str], curation: Curation) -> Embedded:
    """The embeddings of texts by the model of a config; raises what the asking ended by."""
    return asyncio.run(_embed(config, texts, curation))


async def _embed(config: DedupeConfig, texts: Sequence[str], curation: Curation) -> Embedded:
    watch, means = curation.watch, curation.means
    teachers = make_teachers(config, watch, means)
    roles: dict[Role, Teacher] = {"embed": teachers.get(teachers.default)}
    with contextlib.ExitStack() as stack:
        asker = open_asker(
            stack,
            config,
            watch,
            teachers,
            roles,
            prices=prices_of(config, roles),
            backoff=means.backoff,
            paid_for=means.paid_for or config.out,
        )
        try:
            with stopped_by(means.run.stopping, asker):
                return await embed_all(asker, texts)
        except asyncio.CancelledError as error:
            raise Interrupted("stopped at once; calls in flight were given up, what had come is stored") from error
        finally:
            await teachers.close()
