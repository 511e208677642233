"""`evolgen batches`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolgen.cli.errors import errors
from evolgen.cli.options import Debug
from evolgen.config import STORE

if TYPE_CHECKING:
    from evolgen.commands.batches import BatchInfo

batches_app = typer.Typer(
    help="Batches that are under way (of runs with --batch).", no_args_is_help=True, rich_markup_mode=None
)

StoreOption = Annotated[Path, typer.Option("--store", help="The store that waits for them.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Their endpoint; needed only if the URL holds a key.")]
KeyVariable = Annotated[str, typer.Option("--api-key-env", help="The environment variable that holds the key.")]
Json = Annotated[bool, typer.Option("--json", help="Print them as JSON, an object a line.")]

KEY = "OPENAI_API_KEY"


@batches_app.command("list")
def list_batches(
    *,
    store: StoreOption = STORE,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = KEY,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Which batches the store waits for, and how they stand."""
    from evolgen.commands import batches

    with errors(debug):
        _show(batches.list_batches(store=store, base_url=base_url, api_key_env=api_key_env), as_json=json)


@batches_app.command("cancel")
def cancel_batches(
    *,
    ids: Annotated[
        list[str] | None, typer.Argument(help="Those of `evolgen batches list`.", show_default=False)
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Every batch that the store waits for.")] = False,
    store: StoreOption = STORE,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = KEY,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """End batches early; what they have answered by then is taken by the next run with --batch."""
    from evolgen.commands import batches

    if bool(ids) == all:
        raise typer.BadParameter("name the batches, or give --all")
    with errors(debug):
        ended = batches.cancel_batches(ids or (), store=store, base_url=base_url, api_key_env=api_key_env)
        _show(ended, as_json=json)


def _show(batches: list[BatchInfo], *, as_json: bool) -> None:
    if as_json:
        for batch in batches:
            print(batch.model_dump_json())
        return
    from rich.table import Table

    from evolgen.report.screen import Screen

    table = Table(box=None, pad_edge=False)
    for name in ("batch", "model", "sent", "questions", "answered", "failed", "status"):
        table.add_column(
            name, overflow="fold", justify="right" if name in ("questions", "answered", "failed") else "left"
        )
    for batch in batches:
        counts = (str(count) if count is not None else "?" for count in (batch.answered, batch.failed))
        sent = f"{batch.sent:%Y-%m-%d %H:%M} UTC"
        table.add_row(batch.id or "(not yet named)", batch.model, sent, str(batch.questions), *counts, batch.status)
    Screen().print(table if batches else "no batch is under way")
