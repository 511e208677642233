"""`evolgen models`."""

from __future__ import annotations

from typing import Annotated

import typer

from evolgen.cli.errors import errors
from evolgen.cli.options import Debug

models_app = typer.Typer(
    help="Local models: what there is, and fetching them.", no_args_is_help=True, rich_markup_mode=None
)


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

    with errors(debug):
        entry = models.catalogued(name.removeprefix("local:"))
        with Display() as display:
            path = models.pull(entry, lambda done, total: display(Fetching(entry.name, done, total)))
        print(path)
