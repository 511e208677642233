"""A model in fewer bits: the same file with its matrices written anew."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evolgen.errors import ModelError, nearest
from evolgen.runner.gguf import TYPES, Header, Tensor, read_header
from evolgen.runner.memory import gigabytes

KINDS = {
    "f16": (1, 1), "bf16": (30, 32), "q8_0": (8, 7), "q5_1": (7, 9), "q5_0": (6, 8), "q4_1": (3, 3), "q4_0": (2, 2),
}  # fmt: skip
"""What can be written: the number of the type, and that of a file whose matrices are mostly of it."""

FINEST = 8
"""The type of the matrices that tell tokens apart where the others take fewer bits: there it costs little."""

TOKENS = ("token_embd.weight", "output.weight")


def quantize(
    source: Path,
    target: Path,
    kind: str,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a model with its matrices as `kind`; vectors stay as they are, and the tokens' own matrices have 8 bits.

    `progress(done, total)` hears of bytes written. The file gets its name when it is whole. Raises ModelError.
    """
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        meant = f"; did you mean {near}?" if near else ""
        raise ModelError(f"--type {kind}: there is no such type{meant} ({', '.join(KINDS)})")
    header = read_header(source)
    plan = [(tensor, _kind_of(tensor, KINDS[kind][0])) for tensor in header.tensors]
    total = sum(_size(tensor, wanted) for tensor, wanted in plan)
    if target.exists() and (not force or target.samefile(source)):
        raise ModelError(f"{target}: the file exists; name another, or overwrite it with --force")
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target.parent).free < total + header.file_size - header.weights:
            raise ModelError(f"{target}: it takes {gigabytes(total)}, and its disk has less; free some space")
        _write(header, part, kind, plan, progress)
        return part.replace(target)
    except OSError as error:
        raise ModelError(f"{target}: it can't be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _kind_of(tensor: Tensor, wanted: int) -> int:
    """How a tensor will be kept."""
    if len(tensor.shape) < 2 or not tensor.name.endswith(".weight"):
        return tensor.type
    _, block, each = TYPES[wanted]
    if tensor.name in TOKENS and each / block < TYPES[FINEST][2] / TYPES[FINEST][1]:
        wanted = FINEST
    return wanted if tensor.shape[0] % TYPES[wanted][1] == 0 else 1


def _size(tensor: Tensor, kind: int) -> int:
    return Tensor(tensor.name, tensor.shape, kind).size


Plan = Sequence[tuple[Tensor, int]]
"""Each tensor, in the order of the file, and the type that it will be kept as."""


def _write(header: Header, part: Path, kind: str, plan: Plan, progress: Callable[[int, int], None]) -> None:
    import numpy as np

    gguf = _gguf()
    reader = gguf.GGUFReader(header.path)
    writer = gguf.GGUFWriter(part, header.architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(KINDS[kind][1])
    if "general.quantization_version" not in reader.fields:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for tensor, wanted in plan:
        shape = [int(size) for size in reversed(tensor.shape)]
        writer.add_tensor_info(
            tensor.name, shape, np.dtype(np.float32), _size(tensor, wanted), gguf.GGMLQuantizationType(wanted)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done, total = 0, sum(_size(tensor, wanted) for tensor, wanted in plan)
    try:
        for tensor, (_, wanted) in zip(reader.tensors, plan, strict=True):
            data = tensor.data
            if wanted != tensor.tensor_type:
                numbers = gguf.quants.dequantize(data, tensor.tensor_type)
                data = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType(wanted))
            writer.write_tensor_data(data)
            done += data.nbytes
            progress(done, total)
    finally:
        writer.close()


def _gguf() -> Any:
    try:
        import gguf
        import gguf.quants
    except ImportError as error:
        raise ModelError("quantising needs the local extra: pip install 'evolgen[local]'") from error
    return gguf
