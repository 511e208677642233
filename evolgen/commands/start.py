"""Commands in Python: `start` gives the handle of a run, and each command is a function that starts one and waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from evolgen.commands import COMMANDS
from evolgen.commands.command import Command, Means, Work
from evolgen.config import configured
from evolgen.errors import UsageError
from evolgen.report.summary import Summary

if TYPE_CHECKING:
    from evolgen.backends.scripted import Script
    from evolgen.commands.command import Defaults
    from evolgen.engine.run import Run
    from evolgen.events import Observer
    from evolgen.pauses import Backoff


class Function(Protocol):
    """A command as a function: its settings as a config, or by name; see `start` for the rest."""

    def __call__(
        self,
        config: Any = None,
        /,
        *,
        script: Script | None = None,
        observer: Observer | None = None,
        **settings: Any,
    ) -> Summary: ...


def start(
    config: BaseModel,
    *,
    script: Script | None = None,
    observer: Observer | None = None,
    backoff: Backoff | None = None,
    defaults: Defaults | None = None,
) -> Run[Summary]:
    """Start the command that takes such a config; returns its handle, in a running event loop or without one.

    Reads the settings and what the pipelines work on before it returns, so that what is wrong with them is raised here,
    as UsageError. `script` is a function that answers in a teacher's place. `observer` is called with each event, in
    the run's own thread. `backoff` sets the pauses between attempts; `defaults` are what the command line found in a
    file, for recipes and the manifest.
    """
    run, work = prepared(config, observer, script=script, backoff=backoff, defaults=defaults)
    run.begin(work)
    return run


def function(command: Command[Any]) -> Function:
    """A command as a function that starts a run and waits for its end."""

    def call(
        config: Any = None,
        /,
        *,
        script: Script | None = None,
        observer: Observer | None = None,
        **settings: Any,
    ) -> Summary:
        if isinstance(config, BaseModel) and not isinstance(config, command.config):
            raise UsageError(f"{command.function} takes a {command.config.__name__}, not a {type(config).__name__}")
        if config is not None and not isinstance(config, command.config):
            if command.reads in settings:
                raise UsageError(f"{command.reads}: it is given twice, as the first argument and by its name")
            config, settings = None, {command.reads: config, **settings}
        whole = configured(command.config, settings, config)
        run, work = prepared(whole, observer or _notebook(), watched=False, script=script)
        try:
            run.begin(work)
            return run.result()
        except KeyboardInterrupt:  # wherever it came
            run.stop()
            raise

    call.__name__ = call.__qualname__ = command.function
    call.__module__ = "evolgen"  # where it is found, so that it can be pickled
    call.__doc__ = f"""{command.help} What `evolgen {command.name}` does.

    Takes the settings of `{command.config.__name__}`, as a whole or by name; the first may be `{command.reads}` alone.
    `script` is a function that answers in a teacher's place, `observer` is called with each event of the run. Returns a
    Summary, also of a run that stopped early: then `complete` is false and `stopped` says why. Raises EvolgenError
    where the settings or the input are wrong.
    """
    signature = _signature(command)
    call.__signature__ = signature  # type: ignore[attr-defined]  # what help() and Tab show
    call.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()} | {"return": Summary}
    return call


def prepared(
    config: BaseModel, observer: Observer | None, *, watched: bool = True, **means: Any
) -> tuple[Run[Summary], Work]:
    """The handle of a run that has not begun, and its work; see `start`."""
    from evolgen.engine.run import Run

    command = next((each for each in COMMANDS.values() if type(config) is each.config), None)
    if command is None:
        raise UsageError(f"no command takes a {type(config).__name__}")
    run: Run[Summary] = Run(observer, watched=watched)
    return run, command.prepare(config, Means(run, COMMANDS, command.name, command.name, **means))


def _signature(command: Command[Any]) -> inspect.Signature:
    """The settings as keyword arguments, after those that every function has."""
    function = Callable[..., Any] | None
    parameters = [
        inspect.Parameter("config", inspect.Parameter.POSITIONAL_ONLY, default=None, annotation=Any),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=function)
            for name in ("script", "observer")
        ),
        *(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty
                if field.is_required()
                else field.get_default(call_default_factory=True),
                annotation=field.annotation,
            )
            for name, field in command.config.model_fields.items()
        ),
    ]
    return inspect.Signature(parameters, return_annotation=Summary)


def _notebook() -> Observer | None:
    """Progress where a notebook would show none."""
    from evolgen.report.notebook import in_notebook

    if not in_notebook():
        return None
    from evolgen.report.notebook import NotebookProgress

    return NotebookProgress()
