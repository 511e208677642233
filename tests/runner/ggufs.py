"""GGUF files for tests: a header as real models have it, and weights that are holes in the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

F16 = 1


@dataclass(frozen=True)
class Shape:
    """What a LLaMA model is made of, and further fields of its header."""

    layers: int
    heads: int
    width: int
    forward: int
    vocabulary: int = 32_000
    fields: dict[str, Any] = field(default_factory=dict)


LLAMA = {
    "7B": Shape(32, 32, 4096, 11_008),
    "13B": Shape(40, 40, 5120, 13_824),
    "33B": Shape(60, 52, 6656, 17_920),
    "65B": Shape(80, 64, 8192, 22_016),
}
"""The sizes of LLaMA (Touvron et al. 2023, table 2)."""


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, list):
        kind = 8 if value and isinstance(value[0], str) else 4
        items = b"".join(_text(each) if kind == 8 else struct.pack("<I", each) for each in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + items
    return struct.pack("<I", 8) + _text(value)


def header_of(shape: Shape, kind: int = F16) -> tuple[bytes, int]:
    """A header, and the bytes of the weights after it."""
    fields = {
        "general.architecture": "llama",
        "llama.block_count": shape.layers,
        "llama.context_length": 2048,
        "llama.embedding_length": shape.width,
        "llama.feed_forward_length": shape.forward,
        "llama.attention.head_count": shape.heads,
        "general.file_type": 1,
        "tokenizer.ggml.tokens": [f"t{number}" for number in range(100)],
    } | shape.fields
    tensors: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (shape.width, shape.vocabulary),
        "output.weight": (shape.width, shape.vocabulary),
        "output_norm.weight": (shape.width,),
    }
    for layer in range(shape.layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"blk.{layer}.{name}.weight"] = (shape.width, shape.width)
        for name, ends in (("ffn_gate", 1), ("ffn_up", 1), ("ffn_down", -1)):
            tensors[f"blk.{layer}.{name}.weight"] = (shape.width, shape.forward)[::ends]
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = (shape.width,)
    written, offset = b"", 0
    for name, sizes in tensors.items():
        written += _text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)
        numbers = 1
        for size in sizes:
            numbers *= size
        offset += -(-2 * numbers // 32) * 32
    table = b"".join(_text(name) + _value(value) for name, value in fields.items())
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + table + written, offset


def write_gguf(path: Path, shape: Shape, *, missing: int = 0) -> Path:
    """Write a file of the full size, but for some missing bytes; its weights take no room on disk."""
    header, weights = header_of(shape)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // 32) * 32 + weights - missing)
    return path
