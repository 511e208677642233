"""`evolgen serve`: a local model for other programs."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer

from evolgen.cli.errors import errors
from evolgen.cli.options import Debug
from evolgen.records import inert

EXAMPLE = """\
serving {name} at {url}, {slots} x {context:,} tokens of context; Ctrl-C ends it. Try:

    curl {url}/chat/completions -H 'Content-Type: application/json'{key} \\
      -d '{{"messages": [{{"role": "user", "content": "Name a river."}}]}}'
    evolgen evolve seeds.jsonl -o evolved.jsonl --model {name} --base-url {url}{variable}
"""


def serve(
    model: Annotated[str | None, typer.Argument(help="As in --model local:.... Default: the embedded one.")] = None,
    *,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 8080,
    api_key_env: Annotated[str | None, typer.Option(help="The environment variable of a key to want.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Slots. [default: half the cores, at most 8]")] = None,
    ctx: Annotated[int | None, typer.Option(min=1, help="Tokens of context a slot. [default: 4096, or fewer]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="[default: all cores]")] = None,
    gpu_layers: Annotated[int | None, typer.Option(help="[default: as many as a GPU holds]")] = None,
    chat_template: Annotated[str | None, typer.Option(help="A name of `evolgen models templates`.")] = None,
    debug: Debug = False,
) -> None:
    """Serve a local model over OpenAI's API: chat, completions, embeddings, models, health and metrics."""
    from evolgen.commands.chatting import key_of, start_server
    from evolgen.events import Fetching
    from evolgen.report.display import Display
    from evolgen.runner.server import Serving

    with errors(debug):
        serving = Serving(slots=parallel, context=ctx, threads=threads, gpu_layers=gpu_layers, template=chat_template,
                          embeds=True, host=host, port=port, key=key_of(api_key_env))  # fmt: skip
        with Display() as display:
            server = start_server(
                model, serving, fetching=lambda name, done, total: display(Fetching(name, done, total))
            )
        if server.note is not None:
            print(inert(f"evolgen: {server.note}"), file=sys.stderr)
        key = f' \\\n      -H "Authorization: Bearer ${api_key_env}"' if api_key_env else ""
        variable = f" --api-key-env {api_key_env}" if api_key_env else ""
        told = EXAMPLE.format(name=server.name, url=server.url, slots=server.slots, context=server.context, key=key,
                              variable=variable)  # fmt: skip
        print(inert(told), flush=True)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()
        server.close()
