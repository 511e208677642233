"""Batches that are under way: which there are, and ending them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evolgen.answers import Batch
from evolgen.backends.batch_api import BatchApi
from evolgen.backends.batch_state import BatchState
from evolgen.backends.connection import Connection
from evolgen.commands.stores import opened_store
from evolgen.config import STORE, Endpoint
from evolgen.config.address import Address
from evolgen.config.environment import address_of, api_key
from evolgen.errors import Denied, TeacherError, UsageError

KEY_VARIABLE: str = Endpoint.model_fields["api_key_env"].default
TIMEOUT: float = Endpoint.model_fields["timeout"].default


class BatchInfo(BaseModel):
    """A batch that the store waits for, and what its endpoint says of it.

    `status` is the endpoint's word, or why there is none; `answered` and `failed` are None then. `id` is None for a
    batch that may never have reached the endpoint: the next run with --batch finds out.
    """

    model_config = ConfigDict(frozen=True)

    id: str | None
    model: str
    endpoint: str
    sent: datetime
    questions: int
    status: str
    answered: int | None
    failed: int | None


def list_batches(
    *, store: str | Path = STORE, base_url: str | None = None, api_key_env: str = KEY_VARIABLE
) -> list[BatchInfo]:
    """The batches that a store waits for: what `evolgen batches list` does.

    `base_url` is needed only where it carries a key. Raises UsageError where there is no such store.
    """
    given = _address(base_url)
    return _standing(_batches(Path(store)), given, api_key_env, cancel=False)


def cancel_batches(
    ids: Sequence[str] = (),
    *,
    store: str | Path = STORE,
    base_url: str | None = None,
    api_key_env: str = KEY_VARIABLE,
) -> list[BatchInfo]:
    """End batches early, all of them where none is named: what `evolgen batches cancel` does.

    What they have answered by then is paid for; the next run with --batch takes it. Raises UsageError for an id that
    the store doesn't know, and Denied where the endpoint doesn't accept the key.
    """
    given = _address(base_url)
    batches = _batches(Path(store))
    for id in ids:
        if all(batch.id != id for batch in batches):
            raise UsageError(
                f"batch {id}: the store {store} doesn't wait for it; `evolgen batches list` says for which"
            )
    wanted = [batch for batch in batches if not ids or batch.id in ids]
    return _standing(wanted, given, api_key_env, cancel=True)


def _address(base_url: str | None) -> Address | None:
    return None if base_url is None else address_of(base_url)


def _batches(path: Path) -> list[Batch]:
    with opened_store(path) as store:
        return store.batches()


def _standing(batches: Sequence[Batch], given: Address | None, key: str, *, cancel: bool) -> list[BatchInfo]:
    """How batches stand, once they are cancelled if that is wanted.

    Found out in a thread of its own: there may be an event loop here already (a notebook).
    """

    async def all() -> list[BatchInfo]:
        return list(await asyncio.gather(*(_one(batch, given, key, cancel=cancel) for batch in batches)))

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, all()).result()


async def _one(batch: Batch, given: Address | None, key: str, *, cancel: bool) -> BatchInfo:
    state: BatchState | None = None
    try:
        async with _api(batch, given, key) as api:
            state = await api.find(batch.id, batch.token)
            if state is not None and cancel and not state.over:
                state = await api.cancel(state.id)
        status = "unknown to the endpoint" if state is None else state.status
    except TeacherError as error:
        if cancel and isinstance(error, Denied):
            raise
        status = str(error)
    return BatchInfo(
        id=batch.id if state is None else state.id,
        model=batch.model,
        endpoint=batch.endpoint,
        sent=datetime.fromtimestamp(batch.created, UTC),
        questions=len(batch.keys),
        status=status,
        answered=None if state is None else state.completed,
        failed=None if state is None else state.failed,
    )


@contextlib.asynccontextmanager
async def _api(batch: Batch, given: Address | None, key: str) -> AsyncIterator[BatchApi]:
    """The endpoint of a batch, by the user's URL for it where one was given."""
    address = given if given is not None and str(given) == batch.endpoint else Address.read(batch.endpoint)
    connection = Connection(address, lambda: api_key(key, address), timeout=TIMEOUT, connections=4)
    try:
        yield BatchApi(connection)
    finally:
        await connection.close()
