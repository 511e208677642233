"""Rows go in, the same rows come out, byte for byte, or with a reason: `filter`, `dedupe`, `decontaminate`."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.errors import EvolgenError, UsageError
from evolgen.formats.rows import read_rows
from tests.conftest import rows
from tests.running import started
from tests.teacher import Teacher

ODD = (
    b'{"instruction":"Name a river.",  "input": "", "output" :"The Danube.","n":1.10,"u":"\\u00e9","x":[1, 2 ]}\n',
    b'\t{"instruction": "Name a lake.", "output": "Lake Como."} \r\n',
    '{"messages": [{"role": "user", "content": "Est-ce naïf?"}, {"role": "assistant", "content": "Oui."}]}\n'.encode(),
    b'"Just a prompt in a string"\n',
    b'{"prompt": "Name a sea.", "completion": "The Black Sea."}',
)


def write(*lines: bytes | str | dict[str, Any], name: str = "in.jsonl") -> Path:
    def encode(line: bytes | str | dict[str, Any]) -> bytes:
        if isinstance(line, bytes):
            return line
        return (json.dumps(line if isinstance(line, dict) else {"instruction": line}) + "\n").encode()

    Path(name).write_bytes(b"".join(encode(line) for line in lines))
    return Path(name)


def ids(path: str) -> list[str]:
    return [row.get("instruction", row) for row in rows(Path(path))]


@pytest.mark.parametrize("command", ["filter", "dedupe", "decontaminate"])
def test_kept_rows_come_out_byte_for_byte(command: str) -> None:
    write(*ODD)
    write("Something that is in no row at all, whatever one does", name="bench.jsonl")
    more: dict[str, Any] = {"decontaminate": {"against": "bench.jsonl"}}.get(command, {})
    summary = getattr(evolgen, command)(inputs="in.jsonl", out="out.jsonl", **more)
    assert Path("out.jsonl").read_bytes() == b"".join(ODD) + b"\n"
    assert Path("out.rejected.jsonl").read_bytes() == b""
    assert (summary.candidates, summary.accepted, summary.rejected) == (5, 5, 0)


def test_rejected_rows_only_gain_their_rejection() -> None:
    write(b'{"a":1.10, "instruction":"Name a river.","output": "N/A"} \r\n', b'"prompt"\n', b"{}\n", b"{ }\n",
          {"instruction": "One", "rejection": {"old": 1}}, b'{"instruction": "x", "output": "\\ud800"}\n')  # fmt: skip
    evolgen.filter(inputs="in.jsonl", out="out.jsonl", rule={"na_output": True, "min_instruction_words": 5})
    lines = Path("out.rejected.jsonl").read_bytes().splitlines()
    assert lines[0].startswith(
        b'{"a":1.10, "instruction":"Name a river.","output": "N/A", "rejection": {"stage":"filter"'
    )
    rejected = [json.loads(line) for line in lines]
    assert rejected[0]["rejection"] == {
        "stage": "filter", "rule": "na_output", "reason": 'the output only says "N/A"',
    }  # fmt: skip
    assert list(rejected[1]) == ["instruction", "rejection"]
    assert [list(row) for row in rejected[2:4]] == [["rejection"]] * 2
    assert rejected[2]["rejection"]["rule"] == "unknown_shape"
    assert rejected[4]["rejection"]["rule"] == "min_instruction_words"
    assert b'"output": "\\ud800"' in lines[5]


def test_broken_lines_are_reported_by_their_number() -> None:
    write("Name a river.", b"\xff\xfe broken\n", b"{broken\n", b"\n", b"[1, 2]\n", "Name a lake.")
    for command in (evolgen.filter, evolgen.dedupe):
        summary = command(inputs="in.jsonl", out="out.jsonl", force=True)
        assert ids("out.jsonl") == ["Name a river.", "Name a lake."]
        rejections = [row["rejection"] for row in rows(Path("out.rejected.jsonl"))]
        assert [rejection["stage"] for rejection in rejections] == ["input"] * 3
        assert [rejection["reason"].split(":")[1] for rejection in rejections] == ["2", "3", "5"]
        assert rejections[0]["raw"] == "\\xff\\xfe broken"
        assert (summary.candidates, summary.by_stage) == (5, {"input": 3})
        with pytest.raises(UsageError, match=r"in\.jsonl:2: invalid UTF-8"):
            command(inputs="in.jsonl", out="strict.jsonl", strict=True)
        assert not list(Path().glob("strict*"))


def test_every_kind_of_input() -> None:
    Path("a.json").write_text('[{"instruction": "One two."}, {"instruction": "Three four."}]')
    Path("a.csv").write_text("instruction,output\nFive six.,ok\n")
    Path("a.txt").write_text("Seven eight.\n")
    Path("a.jsonl.gz").write_bytes(gzip.compress(b'{"instruction":"Nine ten."}'))
    evolgen.dedupe(inputs=["a.json", "a.csv", "a.txt", "a.jsonl.gz", {"instruction": "One TWO."}], out="out.jsonl")
    assert Path("out.jsonl").read_text().splitlines() == [
        '{"instruction": "One two."}',
        '{"instruction": "Three four."}',
        '{"instruction": "Five six.", "output": "ok"}',
        '"Seven eight."',
        '{"instruction":"Nine ten."}',
    ]


def test_a_duplicate_names_its_neighbour_and_the_score() -> None:
    write({"id": "r1", "instruction": "Name three long rivers of Europe."}, "Write a poem.",
          "Name three long rivers of Europe now.", "name THREE  long rivers of europe.")  # fmt: skip
    summary = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl")
    near, same = (row["rejection"] for row in rows(Path("out.rejected.jsonl")))
    assert (near["stage"], near["rule"], same["rule"]) == ("dedupe", "rouge-l", "exact")
    assert near["match"] == {
        "id": "r1", "source": "out", "text": "Name three long rivers of Europe.", "score": pytest.approx(12 / 13),
    }  # fmt: skip
    assert near["reason"] == "near to row r1: ROUGE-L F1 0.9231 is above 0.7"
    assert same["match"]["score"] == 1.0
    assert summary.by_rule == {"exact": 1, "rouge-l": 1}
    manifest = json.loads(Path("out.manifest.json").read_text())
    assert manifest["methods"]["rouge-l"] == {"threshold": 0.7, "tokenizer": "unicode"}
    for name in ("out.jsonl", "out.rejected.jsonl"):
        assert manifest["sha256"][name] == hashlib.sha256(Path(name).read_bytes()).hexdigest()
    assert {"candidates", "accepted", "rejected", "by_rule", "seconds", "rows_per_second"} <= set(manifest)


def test_existing_data_is_compared_with_and_not_put_out() -> None:
    write("Name a river.", "Name a lake.", "Name a lake.", name="old.jsonl")
    write("Name a lake!", "Name a sea.", "name a  LAKE.", "Name a river.")
    evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="exact", against=["old.jsonl"])
    assert ids("out.jsonl") == ["Name a lake!", "Name a sea."]
    first, second = (row["rejection"]["match"] for row in rows(Path("out.rejected.jsonl")))
    assert (first["source"], second["source"]) == ("old.jsonl:2", "old.jsonl:1")


def test_the_longest_stays_and_the_order_is_that_of_the_file() -> None:
    texts = ["a b c d e f g", "x y z", "a b c d e f g h", "a b c d e f", "x y z w v u t s"]
    write(*texts)
    evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="rouge-l")
    assert ids("out.jsonl") == [texts[0], texts[1], texts[4]]
    evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="rouge-l", keep="longest")
    assert ids("out.jsonl") == [texts[1], texts[2], texts[4]]


@pytest.mark.parametrize(
    ("field", "kept"),
    [(None, ["a", "a", "b"]), ("instruction", ["a", "b"]), ("input", ["a", "a"]), ("output", ["a", "b"]),
     ("all", ["a", "a", "b", "a"])],
)  # fmt: skip
def test_fields(field: Any, kept: list[str]) -> None:
    write(
        {"instruction": "a", "input": "1", "output": "x"},
        {"instruction": "a", "input": "2", "output": "x"},
        {"instruction": "b", "input": "1", "output": "y"},
        {"instruction": "a", "input": "1", "output": "y"},
    )
    evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="exact", field=field)
    assert ids("out.jsonl") == kept


def test_questions_that_differ_in_what_belongs_to_them_are_no_duplicates() -> None:
    long = "Name the longest river that flows through the middle of the country"
    turn = {"role": "user", "content": long}
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"instruction": long, "system": "As a pirate."}, {"instruction": long, "system": "As a poet."}),
        ({"instruction": long, "history": [["a", "b"]]}, {"instruction": long, "history": [["a", "c"]]}),
        ({"question": long, "choices": ["Po", "Ob"]}, {"question": long, "choices": ["Po", "Don"]}),
        ({"instruction": long, "image": "a.png"}, {"instruction": long, "image": "b.png"}),
        (
            {"messages": [{"role": "system", "content": "x"}, turn]},
            {"messages": [{"role": "system", "content": "y"}, turn]},
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, {"messages": [{"role": "assistant", "content": "y"}]}),
    ]
    for one, other in pairs:
        write(one, other, one)
        summary = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="exact,minhash,rouge-l")
        assert summary.accepted == (3 if "messages" in one and len(one["messages"]) == 1 else 2), one
        write(one, {**one, "output": "x"}, name="old.jsonl")
        write(other)
        assert evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", against="old.jsonl").accepted == 1


def test_rows_without_the_field_are_compared_with_none() -> None:
    write(*({"instruction": f"Name {word}.", "input": " "} for word in ("rivers", "lakes", "seas")))
    for field in ("input", "output"):
        for method in ("exact", "exact,minhash,rouge-l"):
            summary = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", field=field, method=method)
            assert summary.accepted == 3


def test_the_longest_counts_the_answer() -> None:
    write({"instruction": "Name a river of Asia now.", "output": "The Mekong, through six countries."},
          {"instruction": "Name a river of Asia right now, please.", "output": "Ob."},
          {"instruction": "Name a river of Asia now.", "output": "No."})  # fmt: skip
    evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", keep="longest", threshold=0.6)
    assert [row["output"] for row in rows(Path("out.jsonl"))] == ["The Mekong, through six countries."]


def test_private_data_is_dropped_and_masked_in_the_same_places() -> None:
    said = "Write to ana@lima-obst.net now."
    places: list[dict[str, Any]] = [
        {"instruction": said}, {"instruction": "x", "system": said}, {"instruction": "x", "history": [[said, "y"]]},
        {"prompt": "x", "chosen": "y", "rejected": said}, {"instruction": "x", "output": {"mail": [said]}},
        {"instruction": "x", "choices": ["y", said]}, {"instruction": "x", "input": ["y", said]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": said}]}]},
        {"messages": [{"role": "system", "content": said}, {"role": "user", "content": "y"}]},
        {"Question": "x", "Answer": said}, {"prompt": [{"role": "user", "content": said}], "chosen": "y"},
    ]  # fmt: skip
    write(*places)
    dropped = evolgen.filter(inputs="in.jsonl", out="out.jsonl", rule="email")
    assert (dropped.accepted, dropped.by_rule) == (0, {"email": len(places)})
    masked = evolgen.filter(inputs="in.jsonl", out="out.jsonl", rule="email=mask")
    assert masked.masked == len(places)
    assert "ana@" not in Path("out.jsonl").read_text()


def test_a_chain_is_one_method_after_the_other_the_cheapest_first() -> None:
    names = ["river", "lake", "sea", "hill", "town", "road", "bridge"]
    texts = [
        f"Name {count} long {name}s of Europe {'now ' * (count % 3)}please" for name in names for count in range(9)
    ]
    write(*texts, *texts[::2], *(text.upper() for text in texts[::3]))
    chain: dict[str, Any] = {"method": "rouge-l,exact,minhash", "threshold": "rouge-l=0.8,minhash=0.5", "ngram": 2}
    evolgen.dedupe(inputs="in.jsonl", out="chain.jsonl", **chain)
    evolgen.dedupe(inputs="in.jsonl", out="1.jsonl", method="exact")
    evolgen.dedupe(inputs="1.jsonl", out="2.jsonl", method="minhash", threshold=0.5, ngram=2)
    evolgen.dedupe(inputs="2.jsonl", out="3.jsonl", method="rouge-l", threshold=0.8)
    assert Path("chain.jsonl").read_bytes() == Path("3.jsonl").read_bytes()
    rules = [row["rejection"]["rule"] for row in rows(Path("chain.rejected.jsonl"))]
    assert set(rules) == {"exact", "minhash", "rouge-l"}


def test_semantic_pays_once_and_says_what_it_paid(teacher: Teacher) -> None:
    write("Name a river.", "Name a river", "Write a long poem about the sea.", "", "", "Name a RIVER.")
    more: dict[str, Any] = {"method": "exact,semantic", "model": "m", "base_url": teacher.url}
    first = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", **more)
    assert ids("out.jsonl") == ["Name a river.", "Write a long poem about the sea.", ""]
    assert first.by_rule == {"exact": 2, "semantic": 1}
    assert (first.requests, first.replayed) == (1, 0)
    again = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", offline=True, **more)
    assert (again.requests, again.replayed) == (0, 3)
    missing = evolgen.dedupe(inputs="in.jsonl", out="other.jsonl", offline=True, **more | {"model": "other"})
    assert (missing.complete, missing.published) == (False, False)
    assert "--offline: the store has no answer" in str(missing.stopped)
    assert not list(Path().glob("other*"))


def test_decontaminate_names_item_and_overlap() -> None:
    item = "Two trains leave two towns at noon and meet after three hours on a bridge over the river."
    Path("bench.jsonl").write_text(
        json.dumps({"question": "Short one?"}) + "\n" + json.dumps({"question": item, "id": "q9"})
    )
    Path("bench.txt").write_text("How many days are there in a year that is divisible by four?\n")
    write("Name a river.", {"instruction": "Solve it.", "input": item.upper()}, "short ONE")
    summary = evolgen.decontaminate(inputs="in.jsonl", out="out.jsonl", against=["bench.jsonl", "bench.txt"])
    assert ids("out.jsonl") == ["Name a river."]
    covered, same = (row["rejection"] for row in rows(Path("out.rejected.jsonl")))
    assert covered["match"] == {"id": "q9", "source": "bench.jsonl:2", "text": item, "score": 1.0}
    assert "two trains leave" in covered["reason"]
    assert same["rule"] == "same_text"
    assert summary.by_stage == {"decontaminate": 2}


def test_masking_changes_texts_and_nothing_else() -> None:
    write({"id": "a@mail.com", "instruction": "Write to a@mail.com or +44 20 7946 1234", "n": 1}, "Name a river.",
          {"messages": [{"role": "user", "content": "I am b@mail.com"}], "tag": "b@mail.com"})  # fmt: skip
    summary = evolgen.filter(inputs="in.jsonl", out="out.jsonl", rule=["email=mask", "card_number"])
    assert rows(Path("out.jsonl")) == [
        {"id": "a@mail.com", "instruction": "Write to [EMAIL] or +44 20 7946 1234", "n": 1},
        {"instruction": "Name a river."},
        {"messages": [{"role": "user", "content": "I am [EMAIL]"}], "tag": "b@mail.com"},
    ]
    assert (summary.masked, summary.accepted) == (2, 3)
    assert json.loads(Path("out.manifest.json").read_text())["rules"] == {"email": "mask", "card_number": "drop"}


def test_what_is_read_can_not_be_written() -> None:
    path = write("Name a river.")
    Path("link.jsonl").symlink_to(path)
    os.link(path, "hard.jsonl")
    before = path.read_bytes()
    for out in ("in.jsonl", "./in.jsonl", "link.jsonl", "hard.jsonl"):
        for command in (evolgen.filter, evolgen.dedupe):
            with pytest.raises(UsageError, match="is read and would be overwritten"):
                command(inputs="in.jsonl", out=out, force=True)
    write("Old.", name="old.rejected.jsonl")
    with pytest.raises(UsageError, match=r"old\.rejected\.jsonl: it is read"):
        evolgen.dedupe(inputs="in.jsonl", out="old.jsonl", against="old.rejected.jsonl")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("command", "settings", "problem"),
    [
        ("dedupe", {"method": "exakt"}, "method"),
        ("dedupe", {"method": ""}, "method"),
        ("dedupe", {"threshold": 1.5}, "threshold: 1.5 must lie between 0 and 1"),
        ("dedupe", {"threshold": "exact=0.5"}, "exact has no threshold"),
        ("dedupe", {"threshold": "high"}, "'high' must be a number"),
        ("dedupe", {"thresold": 0.5}, "did you mean threshold?"),
        ("dedupe", {"against": "gone.jsonl"}, "gone.jsonl: it can't be read"),
        ("dedupe", {"field": "title"}, "field"),
        ("dedupe", {"method": "minhash", "bands": 200}, "200 bands need as many --permutations"),
        ("filter", {"preset": "clear"}, "did you mean clean?"),
        ("filter", {"preset": ""}, "no rule is left"),
        ("filter", {"rule": "toxic_words=gone.txt"}, "gone.txt: the list of words can't be read"),
        ("filter", {"rule": "langages=en"}, "did you mean languages?"),
        ("decontaminate", {}, "against: this setting is needed"),
        ("decontaminate", {"against": "bad.jsonl"}, "bad.jsonl:1"),
        ("decontaminate", {"against": "empty.jsonl"}, "the benchmark holds no items"),
        ("decontaminate", {"against": "in.jsonl", "coverage": 2}, "coverage"),
    ],
)
def test_wrong_settings_are_one_sentence(command: str, settings: dict[str, Any], problem: str) -> None:
    write("Name a river.")
    write(b"{}\n", name="bad.jsonl")
    write(name="empty.jsonl")
    with pytest.raises(UsageError) as caught:
        getattr(evolgen, command)(inputs="in.jsonl", out="out/out.jsonl", **settings)
    assert problem in str(caught.value)
    assert not list(Path("out").glob("*"))


@pytest.mark.parametrize("command", ["filter", "dedupe"])
def test_a_stopped_command_leaves_nothing(command: str) -> None:
    write(*(f"Name {number} rivers." for number in range(5000)))
    stopped = threading.Event()
    run = started(command, inputs="in.jsonl", out="out.jsonl", observer=lambda event: stopped.wait(60))
    run.stop()
    stopped.set()
    summary = run.result()
    assert (summary.complete, summary.published, summary.accepted < 5000) == (False, False, True)
    assert "running the same command again does it all" in str(summary.stopped)
    assert not list(Path().glob("out*"))


def test_its_own_output_goes_through_again() -> None:
    write(*(f"Name {count} long rivers of Europe." for count in range(5)), "Write a poem.")
    evolgen.dedupe(inputs="in.jsonl", out="one.jsonl")
    evolgen.dedupe(inputs="one.rejected.jsonl", out="two.jsonl", method="exact")
    assert len(rows(Path("two.jsonl"))) == 4
    assert Path("two.jsonl").read_bytes() == Path("one.rejected.jsonl").read_bytes()


@pytest.mark.slow
def test_a_million_empty_rows_and_a_row_of_a_megabyte() -> None:
    """Scaled down by ten; the full size was tried by hand."""
    with Path("in.jsonl").open("wb") as file:
        for _ in range(100_000):
            file.write(b'{"instruction": ""}\n')
        file.write(json.dumps({"instruction": "word " * 250_000}).encode() + b"\n")
    summary = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="exact,minhash,rouge-l")
    assert (summary.accepted, summary.by_rule) == (2, {"exact": 99_999})
    summary = evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="rouge-l")
    assert summary.accepted == 100_001  # without a word there is nothing to compare


def test_rows_that_can_be_read_back() -> None:
    """Lone surrogates and huge numbers survive; line separators inside texts stay inside."""
    write(b'{"instruction": "a \\ud800 b", "n": 123456789012345678901234567890}\n',
          '{"instruction": "one\u2028two\x85three"}\n'.encode())  # fmt: skip
    evolgen.dedupe(inputs="in.jsonl", out="out.jsonl", method="exact,minhash,rouge-l")
    assert Path("out.jsonl").read_bytes() == Path("in.jsonl").read_bytes()
    assert [row.value["instruction"] for row in read_rows("out.jsonl")] == ["a \ud800 b", "one\u2028two\x85three"]


def test_errors_are_ours() -> None:
    with pytest.raises(EvolgenError):
        evolgen.filter(inputs="gone.jsonl", out="out.jsonl")
