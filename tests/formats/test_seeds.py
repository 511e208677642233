from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from evolgen.errors import UsageError
from evolgen.formats.inputs import Inputs, source_rows
from evolgen.formats.rows import read_rows
from evolgen.formats.seeds import instruction_of, read_seeds
from evolgen.formats.shapes import Unusable
from evolgen.records import Seed
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data"


def seeds_of(path: Path | str, **options: Any) -> Inputs[Seed]:
    return read_seeds(source_rows([path], "seeds"), "p", **options)


def texts(seeds: Inputs[Seed]) -> list[tuple[str, str]]:
    return [(seed.instruction, seed.input) for seed in seeds]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("  a bare text ", ("a bare text", "")),
        ({"instruction": "I", "input": "x", "output": "o"}, ("I", "x")),
        ({"instruction": "I", "input": None}, ("I", "")),
        ({"instruction": "I", "response": "o"}, ("I", "")),
        ({"instruction": "I", "instances": [{"input": "x", "output": "o"}, {"input": "y"}]}, ("I", "x")),
        ({"prompt": "P"}, ("P", "")),
        ({"instruction": "I", "context": "c", "response": "o"}, ("I", "c")),
        ({"instruction": "I", "input": ["x", 1]}, ("I", '["x", 1]')),
        ({"prompt": "P", "messages": [{"role": "user", "content": "U"}]}, ("U", "")),
        ({"prompt": "P", "messages": []}, ("P", "")),
        ({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]}, ("U", "")),
        ({"conversations": [{"from": "human", "value": "H"}, {"from": "gpt", "value": "G"}]}, ("H", "")),
        ({"turns": ["T1", "T2"]}, ("T1", "")),
    ],
)
def test_known_shapes(row: Any, expected: tuple[str, str]) -> None:
    assert instruction_of(row) == expected


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("   ", "no_instruction"),
        ({"instruction": ""}, "no_instruction"),
        ({"instruction": 5}, "unknown_shape"),
        ({"output": "o"}, "unknown_shape"),
        ({"conversations": [{"from": "gpt", "value": "G"}]}, "no_instruction"),
        ({"messages": []}, "no_instruction"),
        (17, "unknown_shape"),
        ([1, 2], "unknown_shape"),
        ({"instruction": "a\x00b"}, "unprintable"),
        ({"instruction": "a\ud800b"}, "unprintable"),
    ],
)
def test_unusable_rows_say_why(row: Any, rule: str) -> None:
    with pytest.raises(Unusable) as caught:
        instruction_of(row)
    assert caught.value.rule == rule


FILES = {
    "a.jsonl": b'\xef\xbb\xbf{"instruction": "One."}\r\n\n  \n{"instruction": "Two.", "input": "x"}',
    "a.json": b'[{"instruction": "One."}, {"instruction": "Two.", "input": "x"}]',
    "a.csv": "\ufeffinstruction,input,output\nOne.,,o\nTwo.,x,\n".encode(),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_kind_of_file_reads_the_same(name: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / (name + ".gz" * zipped)
    path.write_bytes(gzip.compress(FILES[name]) if zipped else FILES[name])
    assert texts(seeds_of(path)) == [("One.", ""), ("Two.", "x")]


def test_text_files_hold_an_instruction_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffOne.\r\n\nZwei Äpfel.\n".encode())
    assert texts(seeds_of(path)) == [("One.", ""), ("Zwei Äpfel.", "")]


@pytest.mark.parametrize(
    "data", [b'{"instruction": "One."}\n', b' [{"instruction": "One."}]', b"One.\n"], ids=["jsonl", "json", "text"]
)
def test_standard_input_is_told_by_its_first_character(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert texts(seeds_of("-")) == [("One.", "")]


def test_bad_lines_become_rejects_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    deep = b"[" * 100_000
    path.write_bytes(b'{"instruction": "One."}\n{broken\n\xff\xfe\nnull\n' + deep + b'\n{"instruction": "Two."}\n')
    seeds = seeds_of(path)
    assert texts(seeds) == [("One.", ""), ("Two.", "")]
    rejections = [row.rejection for row in seeds.rejects()]
    assert [r.reason.split(":")[1] for r in rejections if r] == ["2", "3", "4", "5"]
    assert {r.stage for r in rejections if r} == {"input"}
    assert rejections[0] is not None
    assert rejections[0].raw == "{broken"
    for row in seeds.rejects():
        json.loads(row.to_line())
    with pytest.raises(UsageError, match=r"a\.jsonl:2: not JSON"):
        seeds_of(path, strict=True)


def test_bad_rows_of_csv_become_rejects_too(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"instruction,input\n\xff\xfe bad,x\n" + b"long " * 50_000 + b",y\nok,in,extra,more\nnul\0,\n")
    seeds = seeds_of(path)
    assert [len(seed.instruction) for seed in seeds] == [249_999]
    rejections = [row.rejection for row in seeds.rejects()]
    assert [(r.rule, r.raw) for r in rejections if r] == [
        ("unreadable", "\\xff\\xfe bad,x"),
        ("unreadable", "ok,in,extra,more"),
        ("unprintable", '{"instruction": "nul\\u0000", "input": ""}'),
    ]


def test_equal_seeds_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("same\nother\nsame\nsame\n")
    assert [seed.occurrence for seed in seeds_of(path)] == [0, 0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"nothing": 1}\n'])
def test_no_usable_seed_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no usable instruction"):
        seeds_of(path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("gone.jsonl", None, "No such file"),
        ("a.json", b"{broken", "not JSON"),
        ("a.json", b'"text"', "must hold a list"),
        ("a.jsonl.gz", b"no gzip", "can't be read"),
        ("b.jsonl.gz", gzip.compress(b"x" * 9999, mtime=0)[:20], "can't be read"),
    ],
    ids=["gone", "broken JSON", "no list", "no gzip", "gzip cut short"],
)
def test_unreadable_files_are_one_clear_sentence(
    name: str, content: bytes | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        list(read_rows(str(path)))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("seed_tasks.jsonl", 175),
        ("user_oriented_instructions.jsonl", 252),
        ("sharegpt_dummy_500.json", 500),
        ("vicuna_bench_80.jsonl", 80),
        ("gpteacher_roleplay_1923.json", 1923),
    ],
)
def test_published_data_sets_are_read_whole(name: str, rows: int) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not on this machine")
    seeds = seeds_of(DATA / name)
    assert len(seeds) + len(list(seeds.rejects())) == rows
    assert len(seeds) >= 0.99 * rows


def test_the_shipped_seeds_are_varied_and_all_usable() -> None:
    seeds = seeds_of(ROOT / "examples" / "seeds.jsonl", strict=True)
    assert len(seeds) >= 60
    assert len({seed.id for seed in seeds}) == len(seeds)
    assert sum(bool(seed.input) for seed in seeds) >= 15
