"""`evolgen`: every command is a few lines that end in one call of the library."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import evolgen
from evolgen.cli.batches import batches_app
from evolgen.cli.chat import chat
from evolgen.cli.errors import errors
from evolgen.cli.models import models_app
from evolgen.cli.options import Debug, Json, settings_command
from evolgen.cli.serve import serve
from evolgen.config import (
    DecontaminateConfig,
    DedupeConfig,
    EvolveConfig,
    FilterConfig,
    RespondConfig,
    SelfInstructConfig,
)
from evolgen.errors import Stopped

app = typer.Typer(
    help="Grow instruction datasets (Evol-Instruct on any OpenAI-compatible teacher or a local LLaMA-family model); "
    "filter, dedupe and decontaminate data you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time of --help
)
app.add_typer(models_app, name="models")
app.add_typer(batches_app, name="batches")


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

    with errors(debug):
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

    with errors(debug):
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


app.command("chat")(chat)
app.command("serve")(serve)


@app.command("run")
def run(
    recipe: Annotated[Path, typer.Argument(help="A TOML file: a table of settings, such as [evolve], or several.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a command whose flags are in a file, or several, each on what the one before it gave."""
    from evolgen.recipes import read_recipe

    with errors(debug):
        read = read_recipe(recipe)
    if read.is_chain:
        _generate("run", {"recipe": recipe}, as_json=json, debug=debug)
    else:
        command, settings = read.single()
        COMMANDS[command](settings, as_json=json, debug=debug)


def main() -> None:
    """The console script."""
    app()
