"""Named chat templates of the LLaMA family, for models whose file brings none.

Prompts are those that the models were trained on, byte for byte. A system message takes the place of the words that
they were trained with; a message of the role `input` is Alpaca's input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from evolgen.errors import ModelError, nearest
from evolgen.runner.gguf import Header

FOLDER = Path(__file__).with_name("chat_templates")


@dataclass(frozen=True)
class Template:
    """How a chat is written for a model: Jinja, and the texts that end an answer.

    `names` is a regular expression for the names of models that were trained on it.
    """

    name: str
    about: str
    stop: tuple[str, ...]
    names: str
    file: str = ""

    @property
    def jinja(self) -> str:
        return (FOLDER / f"{self.file or self.name}.jinja").read_text("utf-8").removesuffix("\n")


TEMPLATES = {
    template.name: template
    for template in (
        Template("gpt4-x-alpaca", "GPT4-x-Alpaca: as Alpaca", ("</s>",), r"gpt-?4.?x.?alpaca", "alpaca"),
        Template("alpaca", "Alpaca, with and without an input", ("</s>",), r"alpaca"),
        Template("vicuna-v0", "Vicuna 0", ("###",), r"vicuna.*v?\b0\b|vicuna.*v0"),
        Template("vicuna-v1.1", "Vicuna 1.1 to 1.5", ("</s>",), r"vicuna"),
        Template("wizardlm-7b", "WizardLM 7B 1.0", ("</s>",), r"wizard.?lm.*\b7b"),
        Template("wizardlm-13b", "WizardLM 13B and 30B: as Vicuna 1.1", ("</s>",), r"wizard.?lm", "vicuna-v1.1"),
        Template("koala", "Koala", ("</s>",), r"koala"),
        Template("llama-2-chat", "Llama 2 Chat", ("</s>",), r"llama.?2.*chat"),
        Template("llama-3", "Llama 3 Instruct", ("<|eot_id|>",), r"llama.?3.*instruct"),
        Template(
            "chatml", "ChatML: Qwen, Hermes, SmolLM, ...", ("<|im_end|>",), r"chatml|hermes|(qwen|smollm).*instruct"
        ),
        Template("llama", "no template at all: base models go on with the text", ("</s>",), r"llama"),
    )
}
"""By name; a model that brings no template gets the first whose `names` are found in its own."""


@dataclass(frozen=True)
class Choice:
    """The template of a model, None where its file brings its own, and what to tell people about it."""

    template: Template | None
    note: str | None = None


def named(name: str) -> Template:
    """A template by its name; raises ModelError if there is none."""
    if name not in TEMPLATES:
        near = nearest(name, TEMPLATES)
        raise ModelError(
            f"chat template {name!r}: there is none of that name{f'; did you mean {near}?' if near else ''} "
            f"({', '.join(TEMPLATES)})"
        )
    return TEMPLATES[name]


def choose(header: Header, wanted: str | None = None) -> Choice:
    """The template that was asked for, else the file's own, else one guessed from the model's name."""
    if wanted is not None:
        return Choice(named(wanted))
    if header.chat_template is not None:
        return Choice(None)
    known = f"{header.fields.get('general.name', '')} {header.path.name}".lower()
    for template in TEMPLATES.values():
        if re.search(template.names, known):
            return Choice(template, f"{header.path.name} brings no chat template: using {template.name}, by its name")
    template = TEMPLATES["llama"]
    return Choice(template, f"{header.path.name} brings no chat template, and its name says nothing: using plain text")
