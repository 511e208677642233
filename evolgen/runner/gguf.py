"""What a GGUF file says of its model: the header alone, without the weights.

The gguf library reads headers too, in seconds (4 s for 49,000 tokens, as it makes an array of each); this takes
milliseconds, and tells a damaged file in a sentence. Format: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from evolgen.errors import ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_FIELDS = 100_000
"""Fields or tensors beyond which a header can't be right."""

LONGEST_ARRAY = 4096
"""Numbers of an array that are kept; of longer ones, and of arrays of text, only the length is."""

TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""How weights are kept: a name, so many numbers a block, so many bytes a block."""

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
"""What `general.file_type` calls the mixtures that people know by name."""

_NUMBERS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9


@dataclass(frozen=True)
class Tensor:
    """A matrix of weights: its shape (numbers, the fastest-changing first) and how they are kept."""

    name: str
    shape: tuple[int, ...]
    type: int

    @property
    def parameters(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes."""
        _, block, each = TYPES[self.type]
        return -(-self.parameters // block) * each


@dataclass(frozen=True)
class Header:
    """What a file says of its model; `fields` as they are called there, long arrays as their length."""

    path: Path
    fields: dict[str, Any]
    tensors: tuple[Tensor, ...]
    file_size: int

    def get(self, name: str, default: Any = None) -> Any:
        """A field of the model's architecture, such as `block_count`."""
        return self.fields.get(f"{self.architecture}.{name}", default)

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", "unknown"))

    @property
    def name(self) -> str:
        return str(self.fields.get("general.name") or self.path.stem)

    @property
    def parameters(self) -> int:
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def quantization(self) -> str:
        """By the file's own word, else how most of the weights are kept."""
        if (known := FILE_TYPES.get(self.fields.get("general.file_type", -1))) is not None:
            return known
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[TYPES[tensor.type][0]] += tensor.parameters
        return sizes.most_common(1)[0][0] if sizes else "none"

    @property
    def context(self) -> int:
        """Tokens that the model was trained for; 0 where the file doesn't say."""
        return _whole(self.get("context_length"))

    @property
    def layers(self) -> int:
        return _whole(self.get("block_count"))

    @property
    def width(self) -> int:
        return _whole(self.get("embedding_length"))

    @property
    def heads(self) -> int:
        return _most(self.get("attention.head_count"))

    @property
    def cache_width(self) -> int:
        """Numbers that all layers together keep of a token: keys and values."""
        heads = self.get("attention.head_count_kv", self.get("attention.head_count"))
        each = _whole(self.get("attention.key_length")) or self.width // max(1, self.heads)
        value = _whole(self.get("attention.value_length")) or each
        all_heads = sum(map(_whole, heads)) if isinstance(heads, list) else _whole(heads) * self.layers
        return all_heads * (each + value)

    @property
    def chat_template(self) -> str | None:
        template = self.fields.get("tokenizer.chat_template")
        return template if isinstance(template, str) and template.strip() else None

    @property
    def pools(self) -> bool:
        """Whether the file says how to make one vector of a text."""
        return self.get("pooling_type") is not None


def read_header(path: Path) -> Header:
    """Read a file's header; raises ModelError, in one sentence, if it is no whole GGUF file."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size == 0:
                raise ModelError(f"{path}: the file is empty; fetch it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Reader(path, data, size).header()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: it can't be read ({error.strerror})") from error
    except (struct.error, KeyError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path}: the file is damaged, its header makes no sense; fetch it again") from error
    if "general.architecture" not in header.fields:
        raise ModelError(f"{path}: the file names no architecture, so it is no model")
    return header


class _Reader:
    """Goes through a header from its beginning."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self._path = path
        self._data = data
        self._size = size
        self._at = 0

    def header(self) -> Header:
        magic = self._data[:4]
        if magic != MAGIC:
            raise ModelError(f"{self._path}: this is not a GGUF file (it begins with {magic!r})")
        self._at = 4
        version = self._number("<I")
        if version not in VERSIONS:
            raise ModelError(
                f"{self._path}: GGUF version {version} can't be read, only {VERSIONS[0]} and {VERSIONS[1]}"
            )
        tensors, fields = self._number("<Q"), self._number("<Q")
        if max(tensors, fields) > MOST_FIELDS:
            raise KeyError(max(tensors, fields))
        values = dict(self._field() for _ in range(fields))
        found = [self._tensor() for _ in range(tensors)]
        alignment = _whole(values.get("general.alignment")) or 32
        begin = -(-self._at // alignment) * alignment
        end = begin + max(offset + tensor.size for tensor, offset in found) if found else self._at
        if end > self._size:
            raise ModelError(
                f"{self._path}: the file is cut off, {self._size:,} of {end:,} bytes are here; fetch it again"
            )
        return Header(self._path, values, tuple(tensor for tensor, _ in found), self._size)

    def _field(self) -> tuple[str, Any]:
        return self._text(), self._value(self._number("<I"))

    def _tensor(self) -> tuple[Tensor, int]:
        name = self._text()
        dimensions = self._number("<I")
        if dimensions > 8:
            raise KeyError(dimensions)
        shape = tuple(self._number("<Q") for _ in range(dimensions))
        tensor = Tensor(name, shape, self._number("<I"))
        if tensor.type not in TYPES:
            raise ModelError(
                f"{self._path}: tensor {name!r} is of a kind ({tensor.type}) that this version doesn't know"
            )
        return tensor, self._number("<Q")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind != _ARRAY:
            return self._number(_NUMBERS[kind])
        kind, length = self._number("<I"), self._number("<Q")
        if kind in (_TEXT, _ARRAY):
            for _ in range(length):
                self._skip_text() if kind == _TEXT else self._value(kind)
            return length
        each = struct.calcsize(_NUMBERS[kind])
        if length > LONGEST_ARRAY:
            self._move(each * length)
            return length
        return [self._number(_NUMBERS[kind]) for _ in range(length)]

    def _number(self, form: str) -> Any:
        (number,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return number

    def _text(self) -> str:
        length = self._number("<Q")
        begin = self._at
        self._move(length)
        return self._data[begin : self._at].decode("utf-8", "replace")

    def _skip_text(self) -> None:
        self._move(self._number("<Q"))

    def _move(self, length: int) -> None:
        self._at += length
        if self._at > self._size:
            raise KeyError(length)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _most(value: Any) -> int:
    return max(map(_whole, value), default=0) if isinstance(value, list) else _whole(value)
