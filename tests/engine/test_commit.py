from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evolgen.engine.commit import Committer, KnownQuestions
from evolgen.engine.output import Output
from evolgen.errors import UsageError
from evolgen.events import Event
from evolgen.records import Provenance, Record, Rejection, Seed, record_id
from tests.conftest import rows


def row(text: str, round: int = 1, rule: str | None = None) -> Record:
    rejection = None if rule is None else Rejection(stage="eliminate", rule=rule, reason="because")
    provenance = Provenance(pipeline="p", operator="o", round=round, root="r")
    return Record(id=record_id(text, ""), instruction=text, input="", output="A.", provenance=provenance,
                  rejection=rejection)  # fmt: skip


class Committed:
    """A committer over an output in the current folder, and what it wrote."""

    def __init__(self, *lineages: list[Record], seeds: list[str] | None = None, **settings: Any) -> None:
        events: list[Event] = []
        output = Output(Path("out.jsonl"), command="evolve")
        seed_rows = [Seed(instruction=text) for text in seeds or []]
        self.committer = Committer(output, events.append, known=KnownQuestions(seed_rows), **settings)
        for lineage in lineages:
            self.committer.commit(lineage)
        output.publish({"command": "evolve"})
        output.close()
        self.accepted = [(r["instruction"], r["provenance"]["round"]) for r in rows(Path("out.jsonl"))]
        self.rejections = {
            (r["instruction"], r["provenance"]["round"]): r["rejection"] for r in rows(Path("out.rejected.jsonl"))
        }
        assert len(events) == len(self.accepted) + len(self.rejections)

    def rules(self) -> dict[tuple[str, int], str]:
        return {key: rejection["rule"] for key, rejection in self.rejections.items()}


def test_a_duplicate_names_the_row_that_came_first() -> None:
    done = Committed([row("Name a River."), row("other", 2)], [row("  name a river.")])
    assert done.accepted == [("Name a River.", 1), ("other", 2)]
    (rejection,) = done.rejections.values()
    assert (rejection["stage"], rejection["rule"]) == ("dedupe", "exact")
    assert rejection["match"] == {
        "id": record_id("Name a River.", ""), "source": "out", "text": "Name a River.", "score": 1.0,
    }  # fmt: skip


def test_an_evolution_may_not_repeat_a_seed_but_a_seeds_own_row_may() -> None:
    done = Committed([row("seed one", 0), row("SEED TWO", 1)], [row("seed two", 0)], seeds=["seed one", "seed two"])
    assert done.accepted == [("seed one", 0), ("seed two", 0)]
    assert done.rejections["SEED TWO", 1]["match"]["source"] == "seeds"


def test_a_rejected_row_makes_nothing_a_duplicate() -> None:
    done = Committed([row("a", 1, "equal"), row("a", 2)])
    assert done.accepted == [("a", 2)]


def test_the_target_is_met_exactly_and_later_rows_are_no_candidates() -> None:
    done = Committed([row("a"), row("b", 2, "equal"), row("c", 3)], [row("d"), row("e")], target=3)
    assert done.accepted == [("a", 1), ("c", 3), ("d", 1)]
    assert done.committer.done
    assert list(done.rejections) == [("b", 2)]


def test_keep_last_supersedes_the_earlier_rounds() -> None:
    lineage = [row("seed", 0), row("a", 1), row("b", 2), row("c", 3, "sorry")]
    done = Committed(lineage, keep="last", seeds=["seed"])
    assert done.accepted == [("seed", 0), ("b", 2)]
    assert done.rules() == {("a", 1): "superseded", ("c", 3): "sorry"}
    assert "round 2" in done.rejections["a", 1]["reason"]


def test_keep_last_keeps_the_last_that_is_new() -> None:
    done = Committed([row("x", 1)], [row("a", 1), row("X", 2)], [row("b", 1), row("B", 2)], keep="last")
    assert done.accepted == [("x", 1), ("a", 1), ("B", 2)]
    assert done.rules() == {("X", 2): "exact", ("b", 1): "superseded"}


def test_a_run_is_dry_when_hardly_anything_is_accepted_any_more() -> None:
    committed = Committed([row(f"row {i}", i + 1) for i in range(300)], target=1000).committer
    assert not committed.dry
    dry = Committed([row("the same", i + 1) for i in range(300)], target=1000).committer
    assert dry.dry
    assert dry.recent_yield() == {"exact": 200}


def test_files_that_are_not_evolgens_are_left_alone() -> None:
    Path("out.jsonl").write_text("precious\n")
    with pytest.raises(UsageError, match="no manifest"):
        Output(Path("out.jsonl"), command="evolve")
    assert Path("out.jsonl").read_text() == "precious\n"
    Output(Path("out.jsonl"), command="evolve", force=True).close()


def test_one_output_belongs_to_one_run() -> None:
    first = Output(Path("out.jsonl"), command="evolve")
    first.write(row("a"))
    with pytest.raises(UsageError, match="another run is writing this output"):
        Output(Path("out.jsonl"), command="evolve")
    first.publish({"command": "evolve"})
    assert len(rows(Path("out.jsonl"))) == 1
    Output(Path("out.jsonl"), command="evolve").close()


def test_a_reader_never_sees_half_a_file() -> None:
    output = Output(Path("deep/data.jsonl"), command="evolve")
    output.write(row("a"))
    on_its_way = ["data.jsonl.part", "data.progress.json", "data.rejected.jsonl.part"]
    assert sorted(path.name for path in Path("deep").iterdir()) == on_its_way
    output.publish({"accepted": 1})
    output.close()
    names = sorted(path.name for path in Path("deep").iterdir())
    assert names == ["data.jsonl", "data.manifest.json", "data.rejected.jsonl"]


def test_what_was_not_published_stays_as_part_unless_it_is_empty() -> None:
    output = Output(Path("out.jsonl"), command="evolve")
    output.write(row("a"))
    output.close()
    assert sorted(path.name for path in Path().iterdir()) == ["out.jsonl.part", "out.progress.json"]
