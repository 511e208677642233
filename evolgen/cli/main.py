"""`evolgen`: arguments -> config -> one library call, for each command of the table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import evolgen
from evolgen.cli.batches import batches_app
from evolgen.cli.chat import chat
from evolgen.cli.errors import errors
from evolgen.cli.models import models_app
from evolgen.cli.options import settings_command
from evolgen.cli.serve import serve
from evolgen.cli.stores import store_app
from evolgen.commands import COMMANDS
from evolgen.commands.command import Command
from evolgen.config import configured
from evolgen.errors import Stopped

app = typer.Typer(
    help="Grow instruction datasets (Evol-Instruct on any OpenAI-compatible teacher or a local LLaMA-family model); "
    "filter, dedupe and decontaminate data you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time of --help
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"evolgen {evolgen.__version__}")
        raise typer.Exit


def carry_out(command: Command[Any], settings: dict[str, Any], *, as_json: bool, debug: bool) -> None:
    """Run a command with what the user gave, show how it goes, and what came of it."""
    from evolgen.cli.process import stopping_on_signals, tuned_interpreter
    from evolgen.commands.defaults import read_defaults
    from evolgen.commands.start import prepared
    from evolgen.events import Event, Notice
    from evolgen.report import closing
    from evolgen.report.display import Display
    from evolgen.report.preview import Preview

    preview = Preview()
    with errors(debug):
        with Display() as display:

            def observe(event: Event) -> None:
                preview(event)
                display(event)

            defaults = read_defaults(Path(), COMMANDS)
            if defaults is not None:
                display(Notice(f"settings from {defaults.path} stand below the flags"))
                settings = defaults.of(command) | settings
            config = configured(command.config, settings)
            with tuned_interpreter():
                run, work = prepared(config, observe, defaults=defaults)  # Ctrl-C here: nothing has begun
                with stopping_on_signals(run.stop):
                    run.begin(work)
                    summary = run.result()
        if as_json:
            print(summary.model_dump_json(), file=sys.stderr if str(summary.out) == "-" else sys.stdout)
        else:
            closing.show(COMMANDS[summary.command].closing, summary, preview)
        if summary.stopped is not None:
            raise Stopped(f"stopped early: {summary.stopped}")


for command in COMMANDS.values():
    app.command(command.name, help=command.help)(settings_command(command, carry_out))
app.add_typer(models_app, name="models")
app.add_typer(batches_app, name="batches")
app.add_typer(store_app, name="store")
app.command("chat")(chat)
app.command("serve")(serve)


def main() -> None:
    """The console script."""
    app()
