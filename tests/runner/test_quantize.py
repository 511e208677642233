"""Fewer bits: smaller files whose model still answers as it did, in kind."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from evolgen.errors import ModelError
from evolgen.runner.gguf import read_header
from evolgen.runner.models import EMBEDDED
from evolgen.runner.quantize import quantize
from evolgen.runner.server import LocalServer, Serving
from tests.runner.ggufs import Shape, write_gguf

gguf = pytest.importorskip("gguf")

SCHEMA = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}


def answered(path: Path, **more: Any) -> Any:
    server = LocalServer(path, Serving(slots=1, context=512))
    body = {"messages": [{"role": "user", "content": "Is the sky blue?"}], "max_tokens": 30, "temperature": 0} | more
    request = urllib.request.Request(
        f"{server.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]


@pytest.mark.slow
def test_the_embedded_model_in_16_8_and_4_bits() -> None:
    whole = quantize(EMBEDDED.pull(), Path("f16.gguf"), "f16")
    original, sixteen = read_header(EMBEDDED.path), read_header(whole)
    assert sixteen.quantization == "F16"
    assert sixteen.parameters == original.parameters
    assert sixteen.chat_template == original.chat_template
    sizes = {"f16": sixteen.file_size}
    for kind in ("q8_0", "q4_0"):
        command = [sys.executable, "-m", "evolgen", "models", "quantize", "f16.gguf", f"{kind}.gguf", "--type", kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        header = read_header(Path(f"{kind}.gguf"))
        assert header.quantization == kind.upper()
        assert done.stdout.startswith(f"F16 271 MB -> {kind} ")
        sizes[kind] = header.file_size
        answer = answered(header.path)
        assert len(answer.split()) > 3
        wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
        assert isinstance(json.loads(answered(header.path, response_format=wanted))["yes"], bool)
    assert 0.50 < sizes["q8_0"] / sizes["f16"] < 0.55
    assert 0.30 < sizes["q4_0"] / sizes["f16"] < 0.36
    assert answered(Path("q8_0.gguf"))[:40] == answered(Path("f16.gguf"))[:40], "8 bits change next to nothing"


def test_numbers_are_those_of_the_gguf_library(tmp_path: Path) -> None:
    """A file whose weights are all zero stays so; its vectors and fields stay as they are."""
    source = write_gguf(tmp_path / "a.gguf", Shape(1, 2, 64, 96, vocabulary=64, fields={"general.name": "Tiny é"}))
    heard: list[tuple[int, int]] = []
    target = quantize(source, tmp_path / "b.gguf", "q4_0", progress=lambda *told: heard.append(told))
    header = read_header(target)
    kinds = {tensor.name: tensor.type for tensor in header.tensors}
    assert kinds["blk.0.ffn_up.weight"] == 2
    assert kinds["blk.0.attn_norm.weight"] == 1
    assert kinds["token_embd.weight"] == kinds["output.weight"] == 8
    assert header.name == "Tiny é"
    assert header.fields["tokenizer.ggml.tokens"] == 100
    assert heard[-1] == (header.weights, header.weights)
    assert not list(tmp_path.glob("*.part"))


def test_what_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "a.gguf", Shape(1, 2, 64, 96, vocabulary=64))
    target = tmp_path / "b.gguf"
    with pytest.raises(ModelError, match=r"--type q4_k: there is no such type; did you mean"):
        quantize(source, target, "q4_k")
    with pytest.raises(ModelError, match="the file exists; name another"):
        quantize(source, source, "q8_0", force=True)
    with pytest.raises(ModelError, match="can't be written"):
        quantize(source, source / "b.gguf", "q8_0")
    target.write_bytes(b"old")
    with pytest.raises(ModelError, match="the file exists"):
        quantize(source, target, "q8_0")
    assert quantize(source, target, "q8_0", force=True) == target
