"""`run`: what goes before a recipe's settings, and what stands below them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evolgen.commands import COMMANDS
from evolgen.commands.recipes import read_recipe
from tests.conftest import rows
from tests.program import evolgen

SCRIPT = '{"match": "compare two", "answer": "Not Equal"}\n{"answer": "About this: {last} And so on."}\n'
CHAIN = 'out = "o.jsonl"\nmodel = "scripted:s"\n[evolve]\nseeds = "seeds.txt"\nrounds = 1\n[respond]\nsamples = 1\n'


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("s").write_text(SCRIPT)
    Path("other").write_text(SCRIPT.replace("About", "On"))
    Path("seeds.txt").write_text("Name a river.\nName a lake.\n")
    Path("one.toml").write_text('[evolve]\nseeds = "seeds.txt"\nout = "o.jsonl"\nrounds = 1\nmodel = "scripted:s"\n')
    Path("chain.toml").write_text(CHAIN)


def manifest(path: str = "o.manifest.json") -> dict[str, object]:
    told: dict[str, object] = json.loads(Path(path).read_text())
    return told


def test_flags_go_before_the_recipe() -> None:
    done = evolgen("run", "one.toml", "-o", "p.jsonl", "-n", "3", "--model", "scripted:other", "--set", "rounds=2",
                   "--set", "operators=deepen,breadth=0.5", "--set", "include_seeds = true")  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = rows(Path("p.jsonl"))
    assert len(written) == 3
    assert {row["provenance"]["model"] for row in written} == {"other"}
    assert {row["provenance"]["round"] for row in written} >= {0, 1}
    assert evolgen("run", "one.toml", "--offline", "--set", "store=fresh.sqlite").returncode == 3


def test_flags_go_before_each_table_of_a_chain_and_a_dot_names_one() -> None:
    done = evolgen("run", "chain.toml", "--model", "scripted:other", "--set", "evolve.rounds=2", "--set", "samples=3")
    assert done.returncode == 0, done.stderr
    stages = manifest()["stages"]
    assert isinstance(stages, list)
    assert [stage["config"]["model"] for stage in stages] == ["scripted:other"] * 2
    assert (stages[0]["config"]["rounds"], stages[1]["config"]["samples"]) == (2, 3)
    recipe = read_recipe(Path("chain.toml"), COMMANDS).overridden({"rounds": 5, "respond.samples": 7})
    assert recipe.tables == {"evolve": {"seeds": "seeds.txt"}, "respond": {"samples": 7}}
    assert recipe.shared["rounds"] == 5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--set", "rounds"], "a setting is set as in rounds=2"),
        (["--set", "ruonds=2"], "ruonds: there is no such setting; did you mean rounds?"),
        (["--set", "filter.preset=clean"], "the recipe has no table [filter]"),
        (["--set", "rounds=many"], "rounds"),
        (["-n", "0"], "n: Input should be greater"),
    ],
)
def test_wrong_overrides_are_one_sentence(arguments: list[str], problem: str) -> None:
    done = evolgen("run", "one.toml", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert not list(Path().glob("o.*"))


@pytest.mark.parametrize("file", ["evolgen.toml", "pyproject.toml"])
def test_defaults_stand_below_recipes_and_flags(file: str) -> None:
    inside = "tool.evolgen" if file == "pyproject.toml" else ""
    table = f"{inside}.evolve" if inside else "evolve"
    Path(file).write_text(f'{f"[{inside}]" if inside else ""}\nmodel = "scripted:s"\nseed = 7\n[{table}]\nrounds = 3\n')
    done = evolgen("evolve", "seeds.txt", "-o", "a.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert f"settings from {file} stand below the flags" in done.stderr
    assert json.loads(done.stdout)["candidates"] == 6
    told = manifest("a.manifest.json")
    assert told["defaults"] == {file: {"model": "scripted:s", "seed": 7, "evolve": {"rounds": 3}}}
    assert evolgen("evolve", "seeds.txt", "-o", "b.jsonl", "--rounds", "1").returncode == 0
    assert len(rows(Path("b.jsonl"))) == 2, "a flag goes before the file"
    Path("r.toml").write_text('[evolve]\nseeds = "seeds.txt"\nout = "c.jsonl"\nrounds = 2\n')
    assert evolgen("run", "r.toml").returncode == 0
    assert manifest("c.manifest.json")["candidates"] == 4, "a recipe goes before the file"
    config = manifest("c.manifest.json")["config"]
    assert isinstance(config, dict)
    assert (config["model"], config["seed"]) == ("scripted:s", 7)
    assert evolgen("filter", "c.jsonl", "-o", "d.jsonl", "--rule", "na_output").returncode == 0


def test_wrong_defaults_are_one_sentence_and_other_projects_files_are_none() -> None:
    Path("pyproject.toml").write_text('[project]\nname = "x"\n[tool.other]\nmodel = 1\n')
    assert evolgen("run", "one.toml").returncode == 0
    Path("pyproject.toml").write_text("[broken")
    assert evolgen("run", "one.toml").returncode == 0
    for content, problem in [("modle = 1", "modle: there is no such setting; did you mean model?"), ("[broken", "read"),
                             ("[evolve]\nruonds = 1", "did you mean rounds?")]:  # fmt: skip
        Path("evolgen.toml").write_text(content)
        done = evolgen("run", "one.toml")
        assert (done.returncode, problem in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("evol_instruct/depen.txt", "did you mean evol_instruct/deepen.txt?"),
        ("judge/equals.txt", "it overrides no template; did you mean judge/equal.txt?"),
        ("deepen.txt", "it overrides no template"),
        ("evol_instruct/deepen.md", "it overrides no template"),
        ("notes.txt", "it overrides no template"),
    ],
)
def test_a_template_that_nothing_would_use_is_refused(name: str, problem: str) -> None:
    path = Path("mine", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("=== user\n{instruction}\n")
    done = evolgen("run", "one.toml", "--set", "prompts=mine")
    assert (done.returncode, problem in done.stderr) == (2, True), done.stderr


def test_templates_of_ones_own_are_named_in_the_end() -> None:
    folder = Path("mine", "evol_instruct")
    folder.mkdir(parents=True)
    for name in ("deepen.txt", "simplify.txt", "deeper.txt", ".hidden.txt", "deepen.txt~"):
        (folder / name).write_text("=== user\nMine: {instruction}\n")
    run = ("run", "one.toml", "--set", "prompts=mine", "--set", "force=true")
    assert "name it in --operators" in evolgen(*run).stderr, "deeper is nearly deepen"
    done = evolgen(*run, "--set", "operators=deepen,simplify,deeper")
    assert done.returncode == 0, done.stderr
    assert "templates of your own: deepen, deeper, simplify" in done.stdout
