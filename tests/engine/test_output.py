"""evolgen overwrites what it wrote and nobody changed, and nothing else; a kill while publishing loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolgen
from evolgen.engine import output as module
from evolgen.engine.output import Output
from evolgen.errors import UsageError
from evolgen.formats.rows import read_rows
from evolgen.formats.texts import texts_of
from evolgen.formats.writers import writer_of
from evolgen.records import Texts
from tests import program
from tests.conftest import rows

FILES = ("out.jsonl", "out.rejected.jsonl", "out.manifest.json", "out.progress.json", "out.jsonl.part",
         "out.rejected.jsonl.part")  # fmt: skip
"""All that a run writes."""


def made(lines: int = 3, command: str = "filter") -> None:
    """An output of evolgen's in the current folder."""
    output = Output(Path("out.jsonl"), command=command)
    write(output, lines)
    output.publish({"command": command, "accepted": lines})
    output.close()


def write(output: Output, lines: int) -> None:
    for number in range(lines):
        output.write_line(f'{{"instruction": "{number}"}}\n'.encode(), accepted=True)
        output.write_line(f'{{"rejected": "{number}"}}\n'.encode(), accepted=False)


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().iterdir() if path.is_file()}


def test_what_it_wrote_it_overwrites() -> None:
    made(3)
    made(5)
    assert len(rows(Path("out.jsonl"))) == 5
    assert sorted(everything()) == sorted(FILES[:3])


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_are_left_alone(name: str) -> None:
    Path(name).write_text("precious\n")
    with pytest.raises(UsageError, match="--force") as caught:
        Output(Path("out.jsonl"), command="filter")
    assert f"-o {name}: " in str(caught.value)
    assert everything() == {name: b"precious\n"}
    Output(Path("out.jsonl"), command="filter", force=True).close()


@pytest.mark.parametrize("name", ["out.jsonl", "out.rejected.jsonl", "out.manifest.json"])
def test_what_somebody_changed_is_left_alone(name: str) -> None:
    made()
    Path(name).write_text(Path(name).read_text()[:-20] + "mine\n")
    before = everything()
    with pytest.raises(UsageError, match="--force"):
        Output(Path("out.jsonl"), command="filter")
    assert everything() == before
    Output(Path("out.jsonl"), command="filter", force=True).close()


def test_what_another_command_wrote_is_left_alone() -> None:
    made(command="evolve")
    before = everything()
    with pytest.raises(UsageError, match=r"written by another command \(evolve\)"):
        Output(Path("out.jsonl"), command="filter")
    assert everything() == before


def test_the_parts_of_a_stopped_run_are_taken_up_and_those_of_nobody_are_not() -> None:
    output = Output(Path("out.jsonl"), command="filter")
    write(output, 2)
    output.close()
    assert sorted(everything()) == ["out.jsonl.part", "out.progress.json", "out.rejected.jsonl.part"]
    made(1)
    Path("out.jsonl.part").write_text("precious\n")
    with pytest.raises(UsageError, match=r"there is no out\.progress\.json beside it"):
        made(1)


class Killed(BaseException):
    pass


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a second output, killed before a step of it: a file replaced, or written to disk."""
    steps = 0

    def counted(usual: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            nonlocal steps
            steps += 1
            if steps > step:
                raise Killed
            return usual(*arguments)

        return call

    output = Output(Path("out.jsonl"), command="filter")
    write(output, 5)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", counted(Path.replace))
        patched.setattr(os, "fsync", counted(os.fsync))
        try:
            output.publish({"command": "filter", "accepted": 5})
        except Killed:
            pass
        else:
            raise StopIteration  # it was through
    for writer in (output._accepted, output._rejected):  # what a kill does: the locks go, the files stay
        writer._file.close()


def test_a_kill_at_any_step_of_publishing_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (0, 3):
        for step in range(10):
            folder = tmp_path / f"{before}-{step}"
            folder.mkdir()
            monkeypatch.chdir(folder)
            if before:
                made(before)
            try:
                killed_at(step, monkeypatch)
            except StopIteration:
                break
            held = len(rows(Path("out.jsonl"))) if Path("out.jsonl").exists() else 0
            assert held == before, "the accepted rows come last"
            Output(Path("out.jsonl"), command="filter").close()  # the next run: nothing is foreign, nothing is lost
            sums = (
                json.loads(Path("out.manifest.json").read_text())["sha256"]
                if Path("out.manifest.json").exists()
                else {}
            )
            for name, told in sums.items():
                assert hashlib.sha256(Path(name).read_bytes()).hexdigest() == told, f"{name} after step {step}"
            assert bool(sums) == Path("out.jsonl").exists()
        assert step >= 5


def test_a_run_that_accepted_nothing_replaces_no_rows() -> None:
    Path("prompts.txt").write_text("Name a river.\nName a lake.\n")
    good = evolgen.respond("prompts.txt", out="out.jsonl", script=lambda request: "The Po.")
    before = everything()
    bad = evolgen.respond("prompts.txt", out="out.jsonl", script=lambda request: "", temperature=0.1)
    assert (good.accepted, bad.accepted, bad.published) == (2, 0, False)
    now = everything()
    assert {name: now[name] for name in before if not name.startswith(".")} == before
    assert now["out.rejected.jsonl.part"].count(b"empty_answer") == 2
    assert json.loads(now["out.manifest.json.part"])["rejected"] == 2
    Path("script.jsonl").write_text('{"answer": ""}\n')
    done = program.evolgen("respond", "prompts.txt", "-o", "out.jsonl", "--model", "scripted:script.jsonl")
    assert "rejected: out.rejected.jsonl.part" in done.stdout
    assert "manifest: out.manifest.json.part" in done.stdout
    assert evolgen.respond("prompts.txt", out="out.jsonl", script=lambda request: "The Ob.").published


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".jsonl", "out\udcff.jsonl", "gone/\0.jsonl", "prompts.txt/out.jsonl", "out.xls", "out"]
)
def test_a_name_that_can_not_be_is_one_sentence(name: str) -> None:
    Path("prompts.txt").write_text("Name a river.\n")
    with pytest.raises(UsageError) as caught:
        evolgen.respond("prompts.txt", out=name, script=lambda request: "The Po.")
    assert str(caught.value).startswith("-o ")
    assert "\n" not in str(caught.value)


def test_a_folder_that_vanishes_is_one_sentence() -> None:
    output = Output(Path("deep/out.jsonl"), command="filter")
    write(output, 1)
    for path in Path("deep").iterdir():
        path.unlink()
    Path("deep").rmdir()
    with pytest.raises(evolgen.EvolgenError, match=r"-o deep/out.jsonl: it can't be written: No such file.*mend that"):
        output.publish({})
    output.close()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))
SAID = TEXT.filter(str.strip)
CONTENT = st.one_of(TEXT, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}), min_size=1))
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": CONTENT}), min_size=1
)
TASKS = st.fixed_dictionaries(
    {"instruction": SAID, "output": TEXT},
    optional={
        "system": TEXT,
        "choices": st.lists(SAID, min_size=1),
        "history": st.lists(st.tuples(SAID, SAID).map(list), min_size=1),
    },
)
ROWS = st.lists(
    st.one_of(
        TASKS,
        st.fixed_dictionaries({"messages": TURNS}),
        st.fixed_dictionaries({"prompt": TURNS, "chosen": TURNS, "rejected": TURNS}),
        st.fixed_dictionaries({"instruction": SAID, "instances": st.lists(st.just({"input": "1", "output": "2"}))}),
    ),
    min_size=1,
    max_size=6,
)  # fmt: skip
EXTRA: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    st.sampled_from(["n", "tags"]), st.one_of(st.integers(), st.lists(TEXT), st.just({}), TEXT)
)


def _told(row: object) -> Texts:
    """What a row says, an answer that is absent being as good as an empty one."""
    texts = texts_of(row)
    return texts._replace(output=texts.output or "")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.json.zst", "a.csv.gz", "a.parquet"])
@given(data=st.data(), values=ROWS)
@settings(max_examples=60, deadline=None)
def test_what_is_written_in_any_format_is_read_again(
    name: str, data: st.DataObject, values: list[dict[str, object]]
) -> None:
    """Of a table all that rows say is the same: it can't tell what is absent, and CSV has no types for other fields."""
    values = [value | data.draw(EXTRA) for value in values]

    def write() -> bytes:
        writer = writer_of(Path(name))
        pieces = [writer.row(json.dumps(value).encode() + b"\n") for value in values]
        return b"".join([*pieces, *writer.end()])

    content = write()
    assert write() == content, "the same rows are the same bytes"
    Path(name).write_bytes(content)
    found = [row.value for row in read_rows(name)]
    if "json" in name:
        assert found == values
    assert [_told(row) for row in found] == [_told(value) for value in values]
    for row, value in zip(found, values, strict=True):
        said = {key: each for key, each in row.items() if each not in (None, "") and key not in ("n", "tags")}
        assert said == {key: each for key, each in value.items() if each != "" and key not in ("n", "tags")}


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_rows_of_several_shapes_are_one_table(name: str) -> None:
    turns = [{"role": "user", "content": "What is a lock?"}, {"role": "assistant", "content": "A guard \ud800."}]
    values = [
        {"messages": turns, "meta": {}, "n": 1},
        {"instruction": "Name a river.", "output": "[1, 2]", "meta": {"a": {}}, "n": "two"},
        {"prompt": "Name a lake.", "chosen": "Como", "rejected": turns[1:], "n": 2**70},
    ]
    Path("in.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    assert evolgen.dedupe("in.jsonl", out=name).accepted == 3
    assert evolgen.dedupe(name, out="again.jsonl").accepted == 3
    found = [{key: each for key, each in row.items() if each} for row in rows(Path("again.jsonl"))]
    assert [row.get("messages", row.get("output", row.get("chosen"))) for row in found] == [
        turns,
        "[1, 2]",
        "Como",
    ]


def test_the_version_stands_in_the_progress_file() -> None:
    output = Output(Path("out.jsonl"), command="filter")
    assert json.loads(Path("out.progress.json").read_text()) == {"version": module.VERSION, "command": "filter"}
    output.close()
    assert not Path("out.progress.json").exists()


def test_a_pipe_gets_the_rows_and_nothing_else() -> None:
    lines = b'{"instruction": "Name a river."}\n{"instruction": "x", "output": "N/A"}\n'
    done = program.evolgen("filter", "-", "-o", "-", stdin=lines)
    assert (done.returncode, done.stdout.encode()) == (0, lines[:33])
    assert "rejected  1" in done.stderr
    assert everything() == {}
    done = program.evolgen(
        "filter", "-", "-o", "-", "--rejects", "r.jsonl", "--manifest", "m.json", "--json", stdin=lines
    )
    assert done.stdout.encode() == lines[:33]
    assert json.loads(done.stderr.splitlines()[-1])["rejected"] == 1
    assert rows(Path("r.jsonl"))[0]["rejection"]["rule"] == "na_output"
    assert json.loads(Path("m.json").read_text())["command"] == "filter"
    assert program.evolgen("filter", "-", "-o", "-", "--rejects", "r.jsonl", stdin=lines).returncode == 2
    done = program.evolgen("filter", "-", "-o", "k.jsonl", "--rejects", "s.jsonl", stdin=lines)
    assert (done.returncode, "it would do nothing: it lies beside the output" in done.stderr) == (2, True)
    Path("script.jsonl").write_text('{"answer": "The Po."}\n')
    done = program.evolgen("respond", "-", "-o", "-", "--model", "scripted:script.jsonl", stdin=b"Name a river.\n")
    assert json.loads(done.stdout)["output"] == "The Po."
    stopped = program.evolgen(
        "respond", "-", "-o", "-", "--model", "scripted:script.jsonl", "--offline", stdin=b"A lake?\n"
    )
    assert (stopped.returncode, stopped.stdout) == (3, "")
