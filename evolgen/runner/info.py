"""What there is to know of a model before it is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from evolgen.runner import memory, templates
from evolgen.runner.gguf import read_header
from evolgen.runner.server import CONTEXT


@dataclass(frozen=True)
class ModelInfo:
    """A model by its header. `chat_template` is "its own" or the name of one; `note` says how that was found.

    `memory` are the bytes that it takes at `slots` texts of `at_context` tokens each, as the file is and at other
    precisions; each with `weights`, `cache` and `working`, of which `total` is the sum.
    """

    path: str
    name: str
    architecture: str
    parameters: int
    layers: int
    heads: int
    width: int
    context: int
    quantization: str
    chat_template: str
    note: str | None
    size: int
    at_context: int
    slots: int
    memory: dict[str, dict[str, int]]


def describe(path: Path, *, context: int | None = None, slots: int = 1) -> ModelInfo:
    """Read what a GGUF file says of its model; raises ModelError if it is none."""
    header = read_header(path)
    choice = templates.choose(header)
    at_context = context or min(CONTEXT, header.context or CONTEXT)
    needed = {"this file": memory.needed(header, at_context, slots), **memory.needed_at(header, at_context, slots)}
    return ModelInfo(
        path=str(path),
        name=header.name,
        architecture=header.architecture,
        parameters=header.parameters,
        layers=header.layers,
        heads=header.heads,
        width=header.width,
        context=header.context,
        quantization=header.quantization,
        chat_template="its own" if choice.template is None else choice.template.name,
        note=choice.note,
        size=header.file_size,
        at_context=at_context,
        slots=slots,
        memory={name: asdict(each) | {"total": each.total} for name, each in needed.items()},
    )
