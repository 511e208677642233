"""`evolgen chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolgen.cli.errors import errors
from evolgen.cli.options import Debug
from evolgen.errors import EvolgenError, UsageError
from evolgen.records import inert

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from evolgen.runner.chat import Chat

HELP = """\
/system TEXT    begin with this system message (without TEXT: with none)
/reset          forget what was said
/regen          answer once more
/params         show how answers are sampled; /params temperature=0.2 max_tokens=200 sets it, seed= takes it back
/save FILE      append the conversation to a JSONL file, as a row
/help           this
/quit           leave, as does Ctrl-D
Enter sends, Alt-Enter begins a new line, the arrow keys bring back what was said, Ctrl-C stops an answer."""


def chat(
    model: Annotated[
        str | None,
        typer.Argument(help="A local model, as in --model local:..., or with --base-url one there. Default: embedded."),
    ] = None,
    *,
    base_url: Annotated[str | None, typer.Option(help="Talk to a model behind this endpoint.")] = None,
    api_key_env: Annotated[str, typer.Option(help="The environment variable that holds the key.")] = "OPENAI_API_KEY",
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    chat_template: Annotated[str | None, typer.Option(help="A name of `evolgen models templates`.")] = None,
    ctx: Annotated[int | None, typer.Option(min=1, help="Tokens of context. [default: 4096, or fewer]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="[default: all cores]")] = None,
    gpu_layers: Annotated[int | None, typer.Option(help="[default: as many as a GPU holds]")] = None,
    debug: Debug = False,
) -> None:
    """Talk to a model: a local one, or one behind an endpoint. Input from a pipe gets one answer, and nothing else."""
    from evolgen.commands.chatting import open_chat
    from evolgen.events import Fetching
    from evolgen.report.display import Display
    from evolgen.runner.server import Serving

    piped = not sys.stdin.isatty()
    with errors(debug):
        question = sys.stdin.read().strip() if piped else ""
        if piped and not question:
            raise UsageError("standard input is empty: give it a question, or run it in a terminal")
        serving = Serving(slots=1, context=ctx, threads=threads, gpu_layers=gpu_layers, template=chat_template)
        with contextlib.ExitStack() as stack:
            with Display() as display:
                opened = open_chat(
                    model,
                    base_url=base_url,
                    api_key_env=api_key_env,
                    system=system,
                    serving=serving,
                    fetching=lambda name, done, total: display(Fetching(name, done, total)),
                    tell=_tell,
                )
                conversation = stack.enter_context(opened)
            if piped:
                _write(conversation.ask(question))
            else:
                _talk(conversation)


def _talk(conversation: Chat) -> None:
    from prompt_toolkit import PromptSession

    _tell(f"{conversation.model}: /help says what there is besides talking")
    session = _session(PromptSession)
    while True:
        try:
            text = session.prompt("> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text == "/quit":
            return
        if text:
            _turn(conversation, text)


def _session(make: Callable[..., PromptSession[str]]) -> PromptSession[str]:
    """A prompt in which Enter sends and Alt-Enter begins a new line; what is pasted may have several."""
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return make(multiline=True, key_bindings=keys, history=InMemoryHistory(), prompt_continuation="  ")


def _turn(conversation: Chat, text: str) -> None:
    """One line of the person's: a command, or something to answer. What goes wrong is told and ends nothing."""
    try:
        if not text.startswith("/"):
            _answer(conversation, conversation.ask(text))
            return
        command, _, rest = text.partition(" ")
        _command(conversation, command, rest.strip())
    except EvolgenError as error:
        _tell(str(error))


def _command(conversation: Chat, command: str, rest: str) -> None:
    match command:
        case "/system":
            conversation.system = rest or None
            _tell("system message set" if rest else "no system message")
        case "/reset":
            conversation.reset()
            _tell("forgotten")
        case "/regen":
            _answer(conversation, conversation.ask_again())
        case "/params":
            for each in rest.split():
                conversation.set(each)
            _tell(" ".join(f"{name}={value}" for name, value in conversation.parameters.items()))
        case "/save":
            if not rest:
                raise UsageError("/save FILE: name a file")
            conversation.save(Path(rest).expanduser())
            _tell(f"saved to {rest}")
        case "/help":
            _tell(HELP)
        case _:
            raise UsageError(f"{command}: there is no such command; /help lists them")


def _answer(conversation: Chat, pieces: Iterator[str]) -> None:
    """Print an answer as it comes; Ctrl-C stops it."""
    try:
        _write(pieces)
    except KeyboardInterrupt:
        pieces.close()  # type: ignore[attr-defined]  # a generator, which then keeps what came
        print()
        _tell("stopped")
    if conversation.speed is not None:
        _tell(f"{conversation.speed:.1f} tokens/s")


def _write(pieces: Iterator[str]) -> None:
    begun = False
    try:
        for piece in pieces:
            begun = True
            print(inert(piece), end="", flush=True)
    except EvolgenError:
        if begun:
            print()  # what went wrong is told on a line of its own
        raise
    print()


def _tell(text: str) -> None:
    """What is not the model's goes to stderr, and looks different on a terminal."""
    dim, plain = ("\033[2m", "\033[0m") if sys.stderr.isatty() else ("evolgen: ", "")
    print(f"{dim}{inert(text)}{plain}", file=sys.stderr)
