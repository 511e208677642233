"""`evolgen store`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evolgen.cli.errors import errors
from evolgen.cli.options import Debug
from evolgen.config import STORE
from evolgen.records import inert

store_app = typer.Typer(help="Paid answers: what a store holds, and forgetting.", no_args_is_help=True,
                        rich_markup_mode=None)  # fmt: skip

StoreOption = Annotated[Path, typer.Option("--store", help="The store.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@store_app.command("info")
def store_info(
    *,
    store: StoreOption = STORE,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="An output: what was paid for it in all runs.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """How many answers a store holds, of which dates, and what was paid."""
    from evolgen.commands import stores

    with errors(debug):
        info = stores.store_info(store, out=out)
        if json:
            print(info.model_dump_json())
            return
        from evolgen.report.screen import Screen

        screen = Screen()
        screen.print(f"{info.path}: {info.bytes / 1e6:,.1f} MB")
        kinds = f"{info.embeddings:,} of them embeddings, {info.damaged:,} damaged"
        screen.print(f"{info.answers:,} answers, {kinds}")
        if info.oldest and info.newest:
            screen.print(f"stored between {info.oldest:%Y-%m-%d %H:%M} and {info.newest:%Y-%m-%d %H:%M} UTC")
        screen.print(f"${info.usd:,.4f} are known to have been paid for them")
        if info.output_tokens is not None:
            screen.print(f"for {out}: {info.output_tokens:,.0f} tokens, ${info.output_usd:,.4f}")
        if info.waiting:
            screen.print(f"{info.waiting:,} questions wait in batches (evolgen batches list)")


@store_app.command("prune")
def prune_store(
    *,
    store: StoreOption = STORE,
    older_than: Annotated[str | None, typer.Option("--older-than", help="Answers older than this: 90d, 12h.")] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Answers that can't be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    debug: Debug = False,
) -> None:
    """Forget answers; what is needed again is paid again, and budgets no longer know of it."""
    from evolgen.commands import stores

    with errors(debug):
        count = stores.prune_store(store, older_than=older_than, damaged=damaged, dry_run=dry_run)
        print(inert(f"answers {'that would be forgotten' if dry_run else 'forgotten'}: {count:,}"))
