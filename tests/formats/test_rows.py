"""Files of many names, encodings and dialects: read whole, or refused in a sentence; never half."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolgen
from evolgen.config.reading import Reading
from evolgen.errors import UsageError
from evolgen.formats.inputs import source_rows
from evolgen.formats.rows import RawRow, read_rows
from tests import program
from tests.conftest import rows

TWO = [{"instruction": "Nenne Flüsse, bitte.", "output": "Die Spree fließt; ja."}, {"instruction": "b", "output": "c"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in TWO)
ARRAY = json.dumps(TWO, ensure_ascii=False)
CSV = 'instruction,output\n"Nenne Flüsse, bitte.",Die Spree fließt; ja.\nb,c\n'
SEMICOLONS = 'instruction;output\nNenne Flüsse, bitte.;"Die Spree fließt; ja."\nb;c\n'
TABS = "instruction\toutput\nNenne Flüsse, bitte.\tDie Spree fließt; ja.\nb\tc\n"


def values(name: str, content: bytes, **reading: Any) -> list[Any]:
    Path(name).write_bytes(content)
    return [row.value for row in read_rows(name, Reading(**reading))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", JSONL), ("a.ndjson", JSONL), ("a.jsonlines", JSONL), ("a.json", JSONL), ("a.data", JSONL),
        ("a", JSONL), ("a.json", ARRAY), ("a.json", json.dumps(TWO, indent=2)), ("a.data", ARRAY),
        ("a.json", "".join(map(json.dumps, TWO))),
        ("a.csv", CSV), ("a.csv", SEMICOLONS), ("a.csv", TABS), ("a.tsv", TABS), ("A.CSV", CSV.replace("\n", "\r\n")),
        ("a.csv", CSV.replace("instruction,output", " instruction , output")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_same_rows_whatever_the_name_the_dialect_and_the_encoding(name: str, text: str, encoding: str) -> None:
    assert values(name, text.encode(encoding)) == TWO
    assert values(f"{name}.gz", gzip.compress(text.encode(encoding))) == TWO


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", JSONL), ("a.json", ARRAY), ("a.csv", CSV), ("a.tsv", TABS)])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-8"])
def test_an_encoding_that_is_told(name: str, text: str, encoding: str) -> None:
    assert values(name, text.encode(encoding), encoding=encoding) == TWO
    with pytest.raises(UsageError, match=r"it is not in ascii.*say --encoding"):
        values(name, text.encode(), encoding="ascii")


def test_zstandard_and_parquet() -> None:
    import pyarrow
    import pyarrow.parquet
    import zstandard

    assert values("a.jsonl.zst", zstandard.compress(JSONL.encode())) == TWO
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TWO), "a.parquet")
    assert [row.value for row in read_rows("a.parquet")] == TWO
    evolgen.filter("a.parquet", out="out.jsonl", rule="na_output")
    assert rows(Path("out.jsonl")) == TWO
    with pytest.raises(UsageError, match="not Parquet"):
        values("b.parquet", b"PAR1 nonsense")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.data", b"Name a river.\n", "its name doesn't say what it holds"),
        ("a", b"", "its name doesn't say what it holds"),
        ("a.csv", b'instruction,output\n"Name a river,x\nb,c\n', "a.csv:2: a quote is opened and never closed"),
        ("a.csv", b"instruction,output,output\na,b,c\n", "a.csv:1: the header names 'output' twice"),
        ("a.json", b'[{"instruction": "a"}, {broken', "not JSON: row 2: Expecting property name"),
        ("a.json", b'[{"instruction": "a"}', "not JSON: row 2: Expecting value"),
        ("a.json", b"[" * 100_000, "row 1: nested too deeply"),
        ("a.json", b"", "it is empty"),
        ("a.txt.gz", b"Name a river.", "its name ends in .gz, and it is not compressed so"),
    ],
)
def test_what_is_no_such_file_is_one_sentence(name: str, content: bytes, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        values(name, content)
    assert problem in str(caught.value)


def test_bad_rows_of_a_table_keep_their_raw_lines() -> None:
    content = "instruction,output\nName rivers.,The Po, the Ob.\nflie\udcdft,x\nb,c\n".encode(
        "utf-8", "surrogateescape"
    )
    Path("a.csv").write_bytes(content)
    found = list(read_rows("a.csv"))
    assert [row.value for row in found] == [
        "Name rivers.,The Po, the Ob.",
        "flie\\xdft,x",
        {"instruction": "b", "output": "c"},
    ]
    assert "a cell that holds a comma needs quotes" in str(found[0].problem)
    assert "--encoding" in str(found[1].problem)
    assert [row.place for row in found] == ["a.csv:2", "a.csv:3", "a.csv:4"]


def test_nan_is_null_in_what_is_written() -> None:
    Path("a.json").write_text('[{"instruction": "Name a lake.", "score": NaN, "s": [Infinity, 1.5]}]')
    Path("b.jsonl").write_text('{"instruction": "Name a sea.", "score": -Infinity}\n{"instruction": "NaN",  "x": 1}\n')
    evolgen.dedupe(["a.json", "b.jsonl"], out="out.jsonl")
    assert [json.loads(line, parse_constant=pytest.fail) for line in Path("out.jsonl").read_text().splitlines()] == [
        {"instruction": "Name a lake.", "score": None, "s": [None, 1.5]},
        {"instruction": "Name a sea.", "score": None},
        {"instruction": "NaN", "x": 1},
    ]
    assert Path("out.jsonl").read_text().endswith('{"instruction": "NaN",  "x": 1}\n'), "what is fine stays as it came"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.json", "a.csv"])
def test_a_line_without_an_end_ends_in_a_sentence_and_memory_stays_flat(name: str) -> None:
    """A bomb, under a limit of memory that a whole line would break."""
    with gzip.open(f"{name}.gz", "wb") as file:
        for _ in range(90):
            file.write(b'["' + b"x" * 2**20 if file.tell() == 0 else b"x" * 2**20)
    command = (
        "import resource, evolgen; resource.setrlimit(resource.RLIMIT_AS, (1_200_000_000,) * 2)\n"
        f"try: evolgen.dedupe('{name}.gz', out='o.jsonl', method='exact')\n"
        "except evolgen.UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert "64,000,000 bytes (--max-line)" in done.stdout, done.stderr
    assert not list(Path().glob("o.*"))


def test_a_shorter_limit_can_be_set() -> None:
    Path("a.jsonl").write_text(JSONL)
    done = program.evolgen("filter", "a.jsonl", "-o", "o.jsonl", "--max-line", "30")
    assert done.returncode == 2
    assert "a.jsonl:1: the line is longer than 30 bytes (--max-line)" in done.stderr


def test_foreign_names_are_mapped_and_kept() -> None:
    row = {"id": 1, "title": "Name a river.", "body": {"text": "Write to ana@lima-obst.net", "n": 2}}
    Path("a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match="its fields: id, title, body"):
        evolgen.filter("a.jsonl", out="out.jsonl")
    done = program.evolgen("filter", "a.jsonl", "-o", "out.jsonl", "--map", "instruction=title,output=body.text",
                           "--rule", "email=mask", "--rule", "min_output_words=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert rows(Path("out.jsonl")) == [row | {"body": {"text": "Write to [EMAIL]", "n": 2}}]
    answered = evolgen.respond("a.jsonl", out="r.jsonl", map={"instruction": "title"}, script=lambda request: "The Po.")
    assert answered.accepted == 1
    assert rows(Path("r.jsonl"))[0]["instruction"] == "Name a river."
    for wrong in ("instruction", "name=title"):
        assert program.evolgen("filter", "a.jsonl", "-o", "o.jsonl", "--map", wrong).returncode == 2


def test_duplicates_and_closing_rows_are_told_by_mapped_names() -> None:
    Path("a.jsonl").write_text('{"title": "Name a river."}\n{"title": "Name a river.", "n": 2}\n')
    done = program.evolgen("dedupe", "a.jsonl", "-o", "out.jsonl", "--map", "instruction=title")
    assert done.returncode == 0, done.stderr
    assert rows(Path("out.jsonl")) == [{"title": "Name a river."}]
    assert rows(Path("out.rejected.jsonl"))[0]["rejection"]["match"]["text"] == "Name a river."
    named = 'map = "instruction=title"'
    Path("r.toml").write_text(f'out = "chain.jsonl"\n[filter]\ninputs = "a.jsonl"\n{named}\n[dedupe]\n{named}\n')
    done = program.evolgen("run", "r.toml")
    assert done.returncode == 0, done.stderr
    assert "Name a river." in done.stdout


def test_a_named_pipe_is_read_once_and_waited_for() -> None:
    os.mkfifo("in.jsonl")

    def write() -> None:
        with Path("in.jsonl").open("w") as file:
            file.write(JSONL)
            file.flush()
            time.sleep(0.3)
            file.write('{"instruction": "late"}\n')

    writer = threading.Thread(target=write)
    writer.start()
    assert evolgen.dedupe("in.jsonl", out="out.jsonl").accepted == 3
    writer.join()


def test_a_run_that_waits_for_its_input_can_be_stopped() -> None:
    os.mkfifo("in.jsonl")
    run = evolgen.start(evolgen.FilterConfig(inputs=["in.jsonl"], out=Path("out.jsonl")))
    run.stop()
    summary = run.result()
    assert not summary.complete
    assert "interrupted" in str(summary.stopped)
    assert not Path("out.jsonl").exists()


def test_marks_are_understood_everywhere() -> None:
    mark = b"\xef\xbb\xbf"
    Path("a.jsonl").write_bytes(mark + b'{"instruction": "Name a river.", "output": "The Po is one."}\n')
    Path("r.toml").write_bytes(
        mark + b'[respond]\ninputs = "a.jsonl"\nout = "o.jsonl"\nprices = "p.toml"\nmodel = "scripted:s"\n'
    )
    Path("p.toml").write_bytes(mark + b'[models."m"]\ninput = 1\noutput = 2\n')
    Path("s").write_bytes(mark + b'{"answer": "The Ob."}\n')
    assert program.evolgen("run", "r.toml").returncode == 0
    for content in (b'{"instruction": "Name a river.", "output": "The Po is one."}\n', b"Name a river.\n"):
        done = program.evolgen("filter", "-", "-o", "kept.jsonl", "--rule", "na_output", stdin=mark + content)
        assert done.returncode == 0, done.stderr
        assert Path("kept.jsonl").read_bytes().strip() in (content.strip(), b'"Name a river."')


@pytest.mark.parametrize("depth", [150, 300, 900, 5000, 100_000])
def test_a_row_that_is_nested_too_deeply_is_a_reject(depth: int) -> None:
    deep = '{"instruction": "Name a river.", "n": ' + "[" * depth + "]" * depth + "}"
    fine = '{"instruction": "Name a lake."}'
    Path("a.jsonl").write_text(f"{fine}\n{deep}\n")
    Path("a.json").write_text(f"[{fine}, {deep}]")
    for name in ("a.jsonl", "a.json"):
        try:
            summary = evolgen.filter(name, out=f"{name}.out.jsonl", rule="email=mask")
        except UsageError as error:
            assert "nested too deeply" in str(error)  # noqa: PT017
            assert name == "a.json"
        else:
            assert summary.accepted == (2 if depth < 200 else 1)
            assert (
                depth < 200 or "nested too deeply" in rows(Path(f"{name}.out.rejected.jsonl"))[0]["rejection"]["reason"]
            )


def test_nothing_readable_is_exit_2_and_writes_nothing() -> None:
    Path("a.jsonl").write_text('{"title": 1}\n{bad\n')
    done = program.evolgen("dedupe", "a.jsonl", "-o", "out.jsonl")
    assert (done.returncode, "no row of the input can be read: a.jsonl:1: the row has no" in done.stderr) == (2, True)
    assert not list(Path().glob("out*"))


ROW = st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none() | st.lists(st.text()), max_size=4)


@given(st.lists(ROW, min_size=1, max_size=20), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_an_array_is_read_in_pieces_of_any_size(values: list[Any], piece: int) -> None:
    from evolgen.formats import rows as module

    Path("a.json").write_text(json.dumps(values))
    usual, module.PIECE = module.PIECE, piece
    try:
        assert [row.value for row in read_rows("a.json")] == values
    finally:
        module.PIECE = usual


def test_rows_given_in_place_are_read_alike() -> None:
    assert list(source_rows([{"instruction": "a"}], "inputs")) == [RawRow("inputs[1]", {"instruction": "a"})]


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device")  # noqa: PTH110
def test_an_endless_file_ends_in_a_sentence() -> None:
    Path("zero.jsonl").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="the line is longer than"):
        list(read_rows("zero.jsonl", Reading(max_line=10_000_000)))
