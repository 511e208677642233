"""What the README says exists and runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, rows
from tests.program import evolgen

README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

COMMANDS = [
    line.strip().split("#")[0].strip().removeprefix(".venv/bin/")
    for line in README.splitlines()
    if re.match(r"^    (\.venv/bin/)?(evolgen|make) ", line)
]


def test_there_are_commands() -> None:
    assert sum(command.startswith("evolgen evolve") for command in COMMANDS) >= 3
    assert "make demo" in COMMANDS
    assert {"evolgen self-instruct", "evolgen respond"} <= {" ".join(command.split()[:2]) for command in COMMANDS}


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("evolgen evolve")])
def test_evolve_commands_run(command: str) -> None:
    """With their own flags, but a script for a teacher."""
    Path("seeds.jsonl").write_text('{"instruction": "Name a river."}\n')
    Path("script.jsonl").write_text('{"match": "compare two", "answer": "Not Equal"}\n{"answer": "About: {last}"}\n')
    (Path("examples")).symlink_to(ROOT / "examples")
    arguments = shlex.split(command)[1:]
    if "SEEDS..." in arguments:
        arguments = ["evolve", "seeds.jsonl", "-o", "out.jsonl"]
    arguments = ["40" if value == "1000" else value for value in arguments]
    done = evolgen(*arguments, "--model", "scripted:script.jsonl")
    assert done.returncode == 0, done.stderr
    assert rows(Path(arguments[arguments.index("-o") + 1]))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("evolgen self-instruct", "evolgen respond"))])
def test_growing_and_responding_commands_run(command: str) -> None:
    Path("prompts.txt").write_text("Name a river.\nName a lake.\n")
    tasks = '{\\"tasks\\": [\\"Tell me why rivers bend.\\", \\"How deep can lakes be?\\"]}'
    Path("script.jsonl").write_text(
        f'{{"match": "write tasks", "answer": "{tasks}"}}\n{{"match": "is a classification", "answer": "No"}}\n'
        '{"answer": "The Volga, for a reason."}\n'
    )
    places = {"SEEDS...": "prompts.txt", "PROMPTS...": "prompts.txt", "OUT": "out.jsonl", "N": "2"}
    arguments = [places.get(word, word) for word in shlex.split(command)[1:]]
    done = evolgen(*arguments, "--model", "scripted:script.jsonl")
    assert done.returncode == 0, done.stderr
    assert len(rows(Path("out.jsonl"))) == 2


def test_curating_commands_run_and_print_what_it_shows() -> None:
    (Path("examples")).symlink_to(ROOT / "examples")
    Path("bench.txt").write_text("A question that nobody has put into the examples so far, has anybody?\n")
    places = {"INPUTS...": "examples/seeds.jsonl", "OUT": "out.jsonl", "BENCHMARK": "bench.txt"}
    curating = [c for c in COMMANDS if c.startswith(("evolgen filter", "evolgen dedupe", "evolgen decontaminate"))]
    assert len(curating) >= 5
    shown = [line.split() for line in README.splitlines()]
    for number, command in enumerate(curating):
        here = places | {"OUT": f"out{number}.jsonl"}
        arguments = [here.get(word, word) for word in shlex.split(command)[1:]]
        done = evolgen(*arguments)
        assert done.returncode == 0, done.stderr
        assert rows(Path(arguments[arguments.index("-o") + 1]))
        for line in done.stdout.splitlines() if "demo/" in command else ():
            assert "rows a second" in line or "deduped" in line or line.split() in shown, line
    assert (
        "".join(re.findall(r'"rejection": {"stage":"filter".*}', README))
        in Path("demo/clean.rejected.jsonl").read_text()
    )


OTHERS = tuple(f"evolgen {name}" for name in ("models", "batches", "store", "run", "chat", "serve"))


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith(OTHERS)])
def test_other_commands_exist(command: str) -> None:
    words = shlex.split(command)[1:]
    assert evolgen(*words[: 2 if words[0] in ("models", "batches", "store") else 1], "--help").returncode == 0


def test_the_recipes_of_the_examples_are_valid() -> None:
    from evolgen.commands import COMMANDS
    from evolgen.commands.chain import plan_stages
    from evolgen.commands.recipes import read_recipe

    (Path("examples")).symlink_to(ROOT / "examples")
    for path in (ROOT / "examples" / "recipes").glob("*.toml"):
        recipe = read_recipe(path, COMMANDS)
        if recipe.is_chain:
            assert [stage.command.name for stage in plan_stages(recipe, COMMANDS)] == list(recipe.tables)
        else:
            command, settings = recipe.single()
            COMMANDS[command].config(**settings)


def test_the_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+ of 4\n", done.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_files_that_the_docs_name_exist() -> None:
    text = README + (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"`([a-z_]+/?[a-z_]*\.py|engine/\w+\.py)`", text):
        assert (ROOT / "evolgen" / name).exists() or (ROOT / name).exists(), name
