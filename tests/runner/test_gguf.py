"""What a header tells, against the sizes of LLaMA and of a real file; and headers that lie."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolgen.errors import ModelError
from evolgen.runner import memory, server
from evolgen.runner.gguf import TYPES, read_header
from evolgen.runner.info import describe
from evolgen.runner.server import LocalServer, Serving, slots_of
from tests.runner.ggufs import LLAMA, Shape, header_of, write_gguf

SIZES = {"7B": 6.7e9, "13B": 13.0e9, "33B": 32.5e9, "65B": 65.2e9}


@pytest.mark.parametrize("name", LLAMA)
def test_the_sizes_of_llama(name: str, tmp_path: Path) -> None:
    shape = LLAMA[name]
    told = describe(write_gguf(tmp_path / f"{name}.gguf", shape))
    assert told.parameters == pytest.approx(SIZES[name], rel=0.01)
    assert (told.layers, told.heads, told.width, told.context) == (shape.layers, shape.heads, shape.width, 2048)
    assert told.quantization == "F16"
    assert told.size >= 2 * told.parameters
    if name == "7B":
        assert told.memory["16-bit"]["weights"] == pytest.approx(13e9, rel=0.05)
        assert told.memory["4-bit"]["weights"] == pytest.approx(4e9, rel=0.06)
        assert told.memory["this file"]["cache"] == 2 * 2 * 32 * 4096 * 2048


def test_grouped_heads_and_layers_that_differ_take_less_cache(tmp_path: Path) -> None:
    grouped = Shape(4, 8, 512, 1024, fields={"llama.attention.head_count_kv": 2})
    assert read_header(write_gguf(tmp_path / "a.gguf", grouped)).cache_width == 4 * 2 * 64 * 2
    differing = Shape(4, 8, 512, 1024, fields={"llama.attention.head_count_kv": [2, 0, 4, 8]})
    assert read_header(write_gguf(tmp_path / "b.gguf", differing)).cache_width == 14 * 64 * 2


def test_a_file_that_was_cut_off_is_told_by_its_size(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "cut.gguf", LLAMA["7B"], missing=1000)
    with pytest.raises(ModelError, match=r"the file is cut off, 13,\d+,\d+,\d+ of 13,\d+,\d+,\d+ bytes are here"):
        read_header(path)


def test_a_model_too_large_for_memory_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    path = write_gguf(tmp_path / "65B.gguf", LLAMA["65B"])
    monkeypatch.setattr(memory, "available", lambda: 25_000_000_000)
    problem = (
        r"takes about 1\d\d\.\d GB of memory \(130\.6 GB weights, 10\.7 GB for 2 x 2,048 tokens of context\), and 25"
    )
    with pytest.raises(ModelError, match=problem):
        LocalServer(path, Serving(slots=2))


def test_slots_are_as_many_as_cores_and_memory_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "7B.gguf", LLAMA["7B"])
    monkeypatch.setattr(server, "cores", lambda: 16)
    monkeypatch.setattr(memory, "available", lambda: 100_000_000_000)
    assert slots_of(path, None) == 8
    monkeypatch.setattr(memory, "available", lambda: 17_500_000_000)
    assert slots_of(path, None) == 3, "each slot's context takes 1.07 GB beside 13.5 GB of weights"
    monkeypatch.setattr(memory, "available", lambda: 1_000_000)
    assert slots_of(path, None) == 1
    assert slots_of(path, 5) == 5
    assert slots_of(path, 50) == 8


def test_info_prints_what_a_person_needs(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "vicuna-7b-v1.5.gguf", LLAMA["7B"])
    command = [sys.executable, "-m", "evolgen", "models", "info", str(path), "--ctx", "1024", "--parallel", "2"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for text in ("6,738,415,616", "32, 32, 4,096", "vicuna-v1.1", "2 x 1,024 tokens", "13.5 GB", "16-bit"):
        assert text in shown
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert told["parameters"] == 6_738_415_616
    assert told["memory"]["4-bit"]["total"] == sum(
        told["memory"]["4-bit"][part] for part in ("weights", "cache", "working")
    )
    gone = subprocess.run([*command[:5], "gone.gguf"], capture_output=True, text=True)
    assert gone.returncode == 2
    assert gone.stderr == "evolgen: gone.gguf: there is no such file\n"


def test_the_table_of_types_is_the_gguf_librarys() -> None:
    gguf = pytest.importorskip("gguf")
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert theirs == TYPES


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_a_header_that_lies_is_a_sentence_and_never_a_crash(data: st.DataObject, tmp_path: Path) -> None:
    whole, weights = header_of(Shape(1, 2, 64, 64, vocabulary=64))
    damaged = bytearray(whole + bytes(weights + 32))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(whole) - 1))
        damaged[at : at + 1] = data.draw(st.binary(min_size=1, max_size=8))
    path = tmp_path / "m.gguf"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with contextlib.suppress(ModelError):
        header = read_header(path)
        assert memory.needed(header, 2048, 2).total > 0
        assert header.quantization
        assert header.name
