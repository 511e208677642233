"""`evolgen models`."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from evolgen.cli.errors import errors
from evolgen.cli.options import Debug
from evolgen.records import inert

models_app = typer.Typer(
    help="Local models: which there are, fetching them, and what they need.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="A name of `evolgen models list`, hf:OWNER/REPO:FILE.gguf, or a file.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@models_app.command("list")
def list_models(json: Json = False) -> None:
    """The models that evolgen can fetch by name, and which are here."""
    from evolgen.runner import models

    here = dict(models.cached())
    if json:
        entries = [
            dataclasses.asdict(entry) | {"source": str(entry.source.path), "here": name in here}
            for name, entry in models.CATALOGUE.items()
        ]
        others = [{"name": name, "source": str(path), "here": True} for name, path in here.items()]
        print(json_module.dumps([*entries, *(other for other in others if other["name"] not in models.CATALOGUE)]))
        return
    from rich.table import Table

    from evolgen.report.screen import Screen
    from evolgen.runner.cache import cache_folder
    from evolgen.runner.memory import gigabytes

    table = Table(box=None, pad_edge=False)
    for column in ("name", "size", "context", "licence", "here", "good for"):
        table.add_column(column, no_wrap=column != "good for", justify="right" if column == "size" else "left")
    for name, entry in models.CATALOGUE.items():
        size = here[name].stat().st_size if name in here else entry.size
        found = "yes" if name in here else "no"
        told = (gigabytes(size), f"{entry.context:,}", entry.licence, found, entry.about)
        table.add_row(f"local:{name}", *told)
    for name, path in here.items():
        if name not in models.CATALOGUE:
            table.add_row(f"local:{name}", gigabytes(path.stat().st_size), "", "", "yes", "")
    screen = Screen()
    screen.print(table)
    screen.print(f"kept in {cache_folder()}", soft_wrap=True)


@models_app.command("pull")
def pull(name: Name, debug: Debug = False) -> None:
    """Fetch a model into the cache; what came before an interruption is not fetched again."""
    from evolgen.errors import ModelError
    from evolgen.events import Fetching
    from evolgen.report.display import Display
    from evolgen.runner import models

    with errors(debug):
        source = models.find(name)
        if isinstance(source, Path):
            raise ModelError(f"{name}: this is a file; pull takes a name of the catalogue or hf:OWNER/REPO:FILE.gguf")
        with Display() as display:
            path = source.pull(lambda done, total: display(Fetching(source.path.name, done, total)))
        print(inert(str(path)))


@models_app.command("info")
def info(
    name: Name,
    *,
    ctx: Annotated[int | None, typer.Option(min=1, help="Tokens of context a slot. [default: 4096, or fewer]")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Slots: texts at once.")] = 1,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What a model is, and the memory that it will take: from its header, without loading it."""
    from evolgen.runner import models
    from evolgen.runner.info import describe
    from evolgen.runner.memory import gigabytes

    with errors(debug):
        told = describe(models.local_path(name), context=ctx, slots=parallel)
    if json:
        print(json_module.dumps(dataclasses.asdict(told)))
        return
    from rich.table import Table

    from evolgen.report.screen import Screen

    screen = Screen(soft_wrap=True)
    rows = {
        "model": told.name,
        "file": told.path,
        "architecture": told.architecture,
        "parameters": f"{told.parameters:,}",
        "layers, heads, width": f"{told.layers}, {told.heads}, {told.width:,}",
        "trained for": f"{told.context:,} tokens of context",
        "quantisation": told.quantization,
        "chat template": told.chat_template,
        "on disk": gigabytes(told.size),
    }
    for label, value in rows.items():
        screen.print(f"{label:<22}{value}")
    if told.note is not None:
        screen.print(told.note)
    slots = f"{told.slots} x {told.at_context:,} tokens"
    table = Table(box=None, pad_edge=False)
    for column in ("memory", "weights", f"context of {slots}", "working", "in all"):
        table.add_column(column, justify="left" if column == "memory" else "right")
    for label, needed in told.memory.items():
        parts = (needed[part] for part in ("weights", "cache", "working", "total"))
        table.add_row(label, *map(gigabytes, parts))
    screen.print()
    screen.print(table)


@models_app.command("rm")
def remove(name: Name, debug: Debug = False) -> None:
    """Take a model out of the cache."""
    from evolgen.runner import models

    with errors(debug):
        print(inert(f"removed {models.remove(name)}"))


@models_app.command("quantize")
def quantize(
    source: Annotated[str, typer.Argument(metavar="IN", help="A model file, in 16 bits if there is one; or its name.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.gguf", help="Where the smaller one goes.")],
    *,
    kind: Annotated[str, typer.Option("--type", help="f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.gguf.")] = False,
    debug: Debug = False,
) -> None:
    """Write a model in fewer bits."""
    from evolgen.events import Working
    from evolgen.report.display import Display
    from evolgen.runner import models
    from evolgen.runner.gguf import read_header
    from evolgen.runner.memory import gigabytes
    from evolgen.runner.quantize import quantize as write

    with errors(debug):
        before = read_header(models.local_path(source))
        if before.quantization not in ("F32", "F16", "BF16"):
            lossy = f"evolgen: {source} is {before.quantization} already; what that lost doesn't come back"
            print(inert(lossy), file=sys.stderr)
        with Display() as display:
            write(
                before.path, target, kind, force=force, progress=lambda *told: display(Working("bytes written", *told))
            )
        after = read_header(target)
        sizes = f"{before.quantization} {gigabytes(before.file_size)} -> {kind} {gigabytes(after.file_size)}"
        print(inert(f"{sizes}: {target}"))


@models_app.command("templates")
def list_templates() -> None:
    """The chat templates that evolgen knows by name, for `--chat-template`."""
    from rich.table import Table

    from evolgen.report.screen import Screen
    from evolgen.runner.templates import TEMPLATES

    table = Table(box=None, pad_edge=False)
    for column in ("name", "for", "an answer ends at"):
        table.add_column(column)
    for template in TEMPLATES.values():
        table.add_row(template.name, template.about, " ".join(template.stop))
    Screen().print(table)
