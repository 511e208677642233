"""`evolgen`: every command is a few lines that end in one call of the library."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import evolgen
from evolgen.cli.options import Debug, Json, settings_command
from evolgen.config import (
    DecontaminateConfig,
    DedupeConfig,
    EvolveConfig,
    FilterConfig,
    RespondConfig,
    SelfInstructConfig,
)
from evolgen.errors import EvolgenError, Interrupted, Stopped

app = typer.Typer(
    help="Grow instruction datasets (Evol-Instruct on any OpenAI-compatible teacher or a local LLaMA-family model); "
    "filter, dedupe and decontaminate data you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time of --help
)
models_app = typer.Typer(
    help="Local models: what there is, and fetching them.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(models_app, name="models")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"evolgen {evolgen.__version__}")
        raise typer.Exit


def _generate(name: str, settings: dict[str, Any], *, as_json: bool, debug: bool) -> None:
    from evolgen.cli import closing
    from evolgen.cli.display import Display

    with _errors(debug):
        with Display() as display:
            summary = getattr(evolgen, name)(observer=display, **settings)
        if as_json:
            print(summary.model_dump_json())
        else:
            closing.show(summary, settings.get("seeds", ()))
        if summary.stopped is not None:
            raise Stopped(f"stopped early: {summary.stopped}")


def _curate(name: str, settings: dict[str, Any], *, as_json: bool, debug: bool) -> None:
    from evolgen.cli import closing
    from evolgen.cli.display import Display

    with _errors(debug):
        with Display() as display:
            summary = getattr(evolgen, name)(observer=display, **settings)
        print(summary.model_dump_json()) if as_json else closing.show_curation(summary)


def _list_rules(wanted: bool) -> None:
    if wanted:
        from evolgen.report.rules import rules_text

        print(rules_text(), end="")
        raise typer.Exit


ListRules = Annotated[
    bool,
    typer.Option("--list-rules", is_eager=True, callback=_list_rules, help="Print every rule and preset, and stop."),
]

COMMANDS: dict[str, Callable[..., None]] = {
    "evolve": partial(_generate, "evolve"),
    "self-instruct": partial(_generate, "self_instruct"),
    "respond": partial(_generate, "respond"),
    "filter": partial(_curate, "filter"),
    "dedupe": partial(_curate, "dedupe"),
    "decontaminate": partial(_curate, "decontaminate"),
}

app.command("evolve", help="Evolve seed instructions and answer them (Evol-Instruct).")(
    settings_command(EvolveConfig, COMMANDS["evolve"])
)
app.command("self-instruct", help="Grow new tasks from a few seed tasks (Self-Instruct, Alpaca).")(
    settings_command(SelfInstructConfig, COMMANDS["self-instruct"])
)
app.command("respond", help="Answer instructions and conversations.")(
    settings_command(RespondConfig, COMMANDS["respond"])
)
app.command("filter", help="Reject rows that break a rule.")(
    settings_command(FilterConfig, COMMANDS["filter"], list_rules=ListRules)
)
app.command("dedupe", help="Reject rows that say what another row says.")(
    settings_command(DedupeConfig, COMMANDS["dedupe"])
)
app.command("decontaminate", help="Reject rows that hold items of a benchmark.")(
    settings_command(DecontaminateConfig, COMMANDS["decontaminate"])
)


@app.command("run")
def run(
    recipe: Annotated[Path, typer.Argument(help="A TOML file: a table of settings, such as [evolve], or several.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a command whose flags are in a file, or several, each on what the one before it gave."""
    from evolgen.recipes import read_recipe

    with _errors(debug):
        read = read_recipe(recipe)
    if read.is_chain:
        _generate("run", {"recipe": recipe}, as_json=json, debug=debug)
    else:
        command, settings = read.single()
        COMMANDS[command](settings, as_json=json, debug=debug)


@models_app.command("list")
def list_models() -> None:
    """The models that evolgen can fetch by name, and which are here."""
    from rich.console import Console
    from rich.table import Table

    from evolgen.runner import models

    table = Table(box=None, pad_edge=False)
    for name in ("name", "parameters", "size", "context", "licence", "here", "good for"):
        table.add_column(name, no_wrap=name != "good for")
    for entry in models.CATALOGUE.values():
        here = "yes" if models.cached(entry) else "no"
        size = f"{entry.size / 1e6:.0f} MB"
        table.add_row(
            f"local:{entry.name}", entry.parameters, size, str(entry.context), entry.licence, here, entry.about
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"kept in {models.cache_folder()}", soft_wrap=True)


@models_app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="A name of `evolgen models list`, with or without local:.")],
    debug: Debug = False,
) -> None:
    """Fetch a model into the cache."""
    from evolgen.cli.display import Display
    from evolgen.engine.events import Fetching
    from evolgen.runner import models

    with _errors(debug):
        entry = models.catalogued(name.removeprefix("local:"))
        with Display() as display:
            path = models.pull(entry, lambda done, total: display(Fetching(entry.name, done, total)))
        print(path)


@contextlib.contextmanager
def _errors(debug: bool) -> Iterator[None]:
    """Turn an error of ours into one line on stderr and its exit code."""
    try:
        yield
    except (EvolgenError, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        ours = error if isinstance(error, EvolgenError) else Interrupted("stopped at once; what came is in the store")
        print(f"evolgen: {ours}", file=sys.stderr)
        raise typer.Exit(ours.exit_code) from None


def main() -> None:
    """The console script."""
    app()
