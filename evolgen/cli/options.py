"""Flags from settings: each field of a config model is a flag of the same name, with its description as help."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from evolgen.commands.command import Command, Printout
from evolgen.records import inert

SHORT = {"out": "-o", "n": "-n"}

TABLE = dict[str, Any]
"""The type of a table of settings; its flag is repeated."""

Json = Annotated[bool, typer.Option("--json", help="Print the closing summary as one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback for an error.")]


def settings_command(command: Command[Any], call: Callable[..., None]) -> Callable[..., None]:
    """A typer command that takes every setting of a command and calls `call(command, settings, as_json=, debug=)`.

    `settings` holds what the user gave and nothing else. The command's own flags come before the shared ones.
    """

    def run(**given: Any) -> None:
        as_json, debug = given.pop("json"), given.pop("debug")
        for name in command.printouts:
            del given[name]
        settings = {
            name: value for name, value in given.items() if not (value is None or value is False or value == [])
        }
        call(command, settings, as_json=as_json, debug=debug)

    fields = command.config.model_fields
    own = [name for name in fields if name in command.config.__annotations__]
    parameters = [
        _parameter(name, fields[name], argument=name == command.reads)
        for name in (*own, *(name for name in fields if name not in own))
    ]
    printouts = {name: _printout(printout) for name, printout in command.printouts.items()}
    for name, annotation in {"json": Json, "debug": Debug, **printouts}.items():
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _printout(printout: Printout) -> Any:
    """A flag that prints something and ends the program, whatever else is given."""

    def show(wanted: bool) -> None:
        if wanted:
            print(inert(printout.text()), end="")
            raise typer.Exit

    return Annotated[bool, typer.Option(is_eager=True, callback=show, help=printout.help)]


def _parameter(name: str, field: FieldInfo, *, argument: bool) -> inspect.Parameter:
    kind = _plain_type(field.annotation)
    if kind is float and any(isinstance(each, BeforeValidator) for each in field.metadata):
        kind = str  # what the config reads for itself, such as "30m"
    required = field.is_required()
    default = field.default if isinstance(field.default, int | float | str | Path) else None
    shown = str(default) if default not in (None, False) else None
    help = (field.description or "") + (f" [default: {shown}]" if shown else "")
    if argument:
        option: Any = typer.Argument(help=help, show_default=False, metavar=name.upper())
    else:
        flag = f"--{name.replace('_', '-')}"
        names = [SHORT[name]] if name == SHORT.get(name, "").strip("-") else [flag, *filter(None, [SHORT.get(name)])]
        option = typer.Option(*names, help=help, show_default=False)
    accepted: Any = kind if required or kind is bool else kind | None
    annotated: Any = Annotated[accepted, option]
    value = inspect.Parameter.empty if required else (False if kind is bool else None)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotated)


def _plain_type(annotation: Any) -> Any:
    """The type of a flag: what pydantic has to convert further (weights, rows) is given as text."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
        return _plain_type(annotation)
    if get_origin(annotation) in (list, tuple, Sequence) or annotation == TABLE:
        return list[str]
    if annotation in (bool, int, float, Path) or get_origin(annotation) is Literal:
        return annotation
    return str
