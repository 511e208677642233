from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evolgen.commands import COMMANDS
from evolgen.commands.command import Command
from evolgen.config import Config, Settings
from tests.conftest import ROOT, rows
from tests.program import Done, evolgen
from tests.teacher import Teacher

SCRIPT = r"""
{"match": "compare two instructions", "answer": "Not Equal"}
{"match": "instructions for AI assistants.*\\n(.+)$", "answer": "{1} Give an example as well."}
{"answer": "Here is what I know of it."}
"""


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("script.jsonl").write_text(SCRIPT)
    Path("seeds.txt").write_text("Name a river.\nWhy is ice slippery?\n")


def evolve(*arguments: str, stdin: bytes = b"") -> Done:
    return evolgen("evolve", "-o", "out.jsonl", "--model", "scripted:script.jsonl", *arguments, stdin=stdin)


def test_a_run_shows_rows_funnel_and_files() -> None:
    done = evolve("seeds.txt", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    for text in ("Some of the rows", "operator", "The funnel", "accepted: out.jsonl", "manifest: out.manifest.json"):
        assert text in done.stdout
    assert len(rows(Path("out.jsonl"))) == 4


def test_json_is_one_object_on_stdout() -> None:
    done = evolve("seeds.txt", "--json")
    summary = json.loads(done.stdout)
    wanted = "candidates accepted rejected by_stage by_rule requests replayed tokens cost_usd complete surplus"
    assert set(wanted.split()) <= set(summary)
    manifest = json.loads(Path("out.manifest.json").read_text())
    assert {name: manifest[name] for name in summary} == summary
    again = json.loads(evolve("seeds.txt", "--json").stdout)
    assert (again["requests"], again["replayed"]) == (0, summary["requests"])


@pytest.mark.parametrize(
    "name", ["data.jsonl", "data.json", "data.csv", "data.jsonl.gz", "data.json.zst", "data.parquet"]
)
def test_the_outputs_name_says_what_it_is(name: str) -> None:
    done = evolve("seeds.txt", "-o", name, "--rounds", "2")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in Path().glob("data*")) == sorted(
        [name, "data.manifest.json", "data.rejected.jsonl"]
    )
    before = Path(name).read_bytes()
    assert evolve("seeds.txt", "-o", name, "--rounds", "2").returncode == 0
    assert Path(name).read_bytes() == before
    again = evolgen("filter", name, "-o", "again.jsonl", "--rule", "na_output", "--json")
    assert json.loads(again.stdout)["accepted"] == 4
    assert {row["instruction"] for row in rows(Path("again.jsonl"))} >= {"Name a river. Give an example as well."}


def test_a_name_that_says_nothing_is_refused() -> None:
    done = evolve("seeds.txt", "-o", "data.txt")
    assert (done.returncode, "-o data.txt: its name doesn't say what is to be written" in done.stderr) == (2, True)


def test_standard_input() -> None:
    assert evolve("-", stdin=b"Name a lake.\n").returncode == 0
    assert rows(Path("out.jsonl"))[0]["provenance"]["round"] == 1


def test_n_rows_exactly() -> None:
    assert evolve("seeds.txt", "-n", "3").returncode == 0
    assert len(rows(Path("out.jsonl"))) == 3


def test_n_out_of_reach_is_exit_3_and_says_why() -> None:
    Path("script.jsonl").write_text(SCRIPT.replace("{1} Give an example as well.", "Always this."))
    done = evolve("seeds.txt", "-n", "9")
    assert done.returncode == 3
    assert re.search(
        r"-n 9 can't be reached: 1 rows are there, and the last 200 candidates gave .*exact \d+", done.stderr
    )
    manifest = json.loads(Path("out.manifest.json").read_text())
    assert manifest["complete"] is False
    assert len(rows(Path("out.jsonl"))) == manifest["accepted"] == 1


def test_a_budget_is_exit_3_and_publishes_what_is_there(teacher: Teacher) -> None:
    arguments = ("evolve", "seeds.txt", "-o", "out.jsonl", "--model", "m", "--base-url", teacher.url, "--rounds", "2")
    done = evolgen(*arguments, "--max-requests", "7")
    assert done.returncode == 3
    assert "--max-requests 7" in done.stderr
    assert len(teacher.calls) == 7
    assert json.loads(Path("out.manifest.json").read_text())["complete"] is False
    assert evolgen(*arguments).returncode == 0
    assert len(teacher.calls) == 12
    assert len(rows(Path("out.jsonl"))) == 4


def test_offline_proves_or_says_what_is_missing() -> None:
    evolve("seeds.txt", "--rounds", "1")
    first = Path("out.jsonl").read_bytes()
    assert evolve("seeds.txt", "--rounds", "1", "--offline").returncode == 0
    assert Path("out.jsonl").read_bytes() == first
    done = evolve("seeds.txt", "--rounds", "2", "--offline")
    assert done.returncode == 3
    assert "--offline: the store has no answer" in done.stderr
    assert Path("out.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["gone.jsonl"], "gone.jsonl: it can't be read: No such file"),
        (["seeds.txt", "--operators", "deepn"], "did you mean deepen"),
        (["seeds.txt", "--operators", "deepen=much"], "a weight must be a number"),
        (["seeds.txt", "--operators", "deepen=-1"], "each with a weight above 0"),
        (["seeds.txt", "--no-rule", "sory"], "no_rule"),
        (["seeds.txt", "--rounds", "0"], "rounds: Input should be greater"),
        (["seeds.txt", "--temperature", "3"], "temperature: Input should be less"),
        (["seeds.txt", "--keep", "some"], "some"),
        (["seeds.txt", "--give-up", "soon"], "'soon' is no time such as 90, 30m or 2h"),
        (["seeds.txt", "--rpm", "0"], "rpm: Input should be greater"),
        (["seeds.txt", "--model", "scripted:gone.jsonl"], "script gone.jsonl: can't be read"),
        (["seeds.txt", "--model", "local:gone.gguf"], "gone.gguf: there is no such file"),
        (["seeds.txt", "--model", "local:seeds.txt"], "this is not a GGUF file"),
        (["seeds.txt", "--model", "local:nonsense"], "neither a .gguf file nor a model of the catalogue"),
        (["seeds.txt", "--model", "gpt-4"], "OPENAI_API_KEY holds no API key"),
        (
            ["seeds.txt", "--model", "m", "--base-url", "127.0.0.1:8000/v1"],
            "base_url: 127.0.0.1:8000/v1: it must begin",
        ),
        (["seeds.txt", "--model", "m", "--base-url", "http://h:99999/v1"], "h:99999/v1: Port out of range 0-65535"),
        (["seeds.txt", "--model", "m", "--base-url", "http://[::1/v1"], "[::1/v1: Invalid IPv6 URL"),
        (["seeds.txt", "--model", "m", "--base-url", "https:///v1"], "https:///v1: it names no host"),
        (["seeds.txt", "--store", "seeds.txt"], "damaged or not a store"),
        (["seeds.txt", "--store", "."], "store .: it can't be opened"),
        (["seeds.txt", "--prompts", "gone"], "no such folder"),
        (["seeds.txt", "-o", "seeds.txt"], "is read and would be overwritten"),
        (["seeds.txt", "-o", "script.jsonl"], "overwrite it with --force"),
        (["seeds.txt", "-o", "."], "this is a folder"),
        (["seeds.txt", "--model", ""], "model: String should have at least 1 character"),
        (["empty.txt"], "no usable instruction"),
        (["bad.jsonl", "--strict"], "bad.jsonl:2"),
    ],
)
def test_wrong_input_is_one_clear_sentence_and_exit_2(arguments: list[str], problem: str) -> None:
    Path("empty.txt").touch()
    Path("bad.jsonl").write_text('{"instruction": "fine"}\n{broken\n')
    before = {path: path.read_bytes() for path in Path().iterdir()}
    done = evolve(*arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") <= 5
    assert not list(Path().glob("out.*"))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (["respond", "seeds.txt"], ["--judge-model", "--seed", "--prompts"]),
        (["self-instruct", "seeds.txt", "-n", "5", "--style", "alpaca"], ["--answer-model", "--judge-model", "--lag"]),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(command: list[str], flags: list[str]) -> None:
    for flag in flags:
        done = evolgen(*command, "-o", "out.jsonl", "--model", "scripted:script.jsonl", flag, "5")
        assert done.returncode == 2
        assert "No such option" in done.stderr or "it would do nothing: the style alpaca" in done.stderr
    assert not list(Path().glob("out*"))


def test_what_a_chain_shares_may_be_of_no_use_to_a_stage() -> None:
    Path("recipe.toml").write_text(
        'out = "o.jsonl"\nmodel = "scripted:script.jsonl"\njudge_model = "scripted:script.jsonl"\n'
        '[self-instruct]\nseeds = "tasks.jsonl"\nstyle = "alpaca"\nn = 1\n[evolve]\nrounds = 1\n'
    )
    Path("tasks.jsonl").write_text('{"instruction": "Name a river.", "output": "Po"}\n')
    task = '{\\"instruction\\": \\"Tell me why rivers bend.\\", \\"input\\": \\"\\", \\"output\\": \\"They do.\\"}'
    Path("script.jsonl").write_text(
        f'{{"match": "write tasks", "answer": "{{\\"tasks\\": [{task}]}}"}}\n' + SCRIPT.strip() + "\n"
    )
    done = evolgen("run", "recipe.toml")
    assert done.returncode == 0, done.stderr


def test_base_url_without_model_is_exit_2() -> None:
    done = evolgen("evolve", "seeds.txt", "-o", "out.jsonl", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2
    assert "--model" in done.stderr


def test_bad_lines_are_rejected_rows() -> None:
    Path("bad.jsonl").write_text('{"instruction": "fine"}\n{broken\n')
    assert evolve("bad.jsonl", "--rounds", "1").returncode == 0
    (rejected,) = rows(Path("out.rejected.jsonl"))
    assert rejected["rejection"]["stage"] == "input"
    assert "bad.jsonl:2" in rejected["rejection"]["reason"]


def test_an_unknown_model_and_a_bad_key_are_one_sentence(teacher: Teacher) -> None:
    from aiohttp import web

    from tests.teacher import Body

    async def unknown(body: Body) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no model 'm' here"}}, status=404)

    teacher.reply = unknown
    done = evolgen("evolve", "seeds.txt", "-o", "out.jsonl", "--model", "m", "--base-url", teacher.url)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no model 'm' here" in done.stderr
    assert not list(Path().glob("out.*"))


def test_a_recipe_is_the_same_run(tmp_path: Path) -> None:
    evolve("seeds.txt", "--rounds", "2", "--operators", "deepen,breadth=2", "--include-seeds")
    flags = Path("out.jsonl").read_bytes()
    Path("recipe.toml").write_text(
        '[evolve]\nseeds = ["seeds.txt"]\nout = "recipe.jsonl"\nmodel = "scripted:script.jsonl"\nrounds = 2\n'
        "operators = {deepen = 1, breadth = 2}\ninclude_seeds = true\n"
    )
    assert evolgen("run", "recipe.toml").returncode == 0
    assert Path("recipe.jsonl").read_bytes() == flags


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ("[evolv]\n", "did you mean [evolve]"),
        ("", "must hold a table of settings"),
        ("evolve = 1\n", "must be a table"),
        ("[evolve\n", "not TOML"),
        ('[evolve]\nseeds = "seeds.txt"\nout = "o.jsonl"\nmodle = "m"\n', "did you mean model"),
        ('[evolve]\nseeds = "seeds.txt"\n', "out: this setting is needed"),
        ('[evolve]\nseeds = "seeds.txt"\nout = "o.jsonl"\nrounds = "many"\n', "rounds: "),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_exit_2(recipe: str, problem: str) -> None:
    Path("recipe.toml").write_text(recipe)
    done = evolgen("run", "recipe.toml")
    assert (done.returncode, problem in done.stderr) == (2, True), done.stderr


PAGES = {"evolve": "evolve", "self-instruct": "self-instruct", "respond": "respond", "run": "recipes"}
"""Where the flags of a command are explained; those of the others are on the page on curating."""


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_setting_is_a_flag_and_is_documented(command: Command[Any]) -> None:
    help, config = evolgen(command.name, "--help").stdout, command.config
    page = PAGES.get(command.name, "curate")
    pages = (page, "teachers") if issubclass(config, Settings) else (page,)
    docs = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in pages)
    for name in config.model_fields:
        if name == command.reads:
            continue
        flag = "-n" if name == "n" else f"--{name.replace('_', '-')}"
        assert re.search(rf"(^|\W){flag}\b", help), flag
        assert re.search(rf"`(-o`, `)?{flag}\b", docs), f"docs/{'.md, docs/'.join(pages)}.md does not explain {flag}"
    assert set(Config.model_fields) < set(config.model_fields) or command.name == "run"


def test_curating_shows_counts_and_files() -> None:
    Path("rows.jsonl").write_text(
        '{"instruction": "Name a river.", "output": "N/A"}\n{"instruction": "Name a lake."}\n{bad\n'
    )
    done = evolgen("filter", "rows.jsonl", "-o", "kept.jsonl", "--no-rule", "refusal,invented_url", "--preset", "clean")
    assert done.returncode == 0, done.stderr
    assert re.search(r"in +3 +rows\s+kept +1\s+rejected +2 +filter 1, input 1\s", done.stdout)
    for text in ("na_output", "rows a second", "accepted: kept.jsonl", "rejected: kept.rejected.jsonl"):
        assert text in done.stdout
    done = evolgen("dedupe", "kept.jsonl", "kept.rejected.jsonl", "-o", "new.jsonl", "--method", "exact", "--json")
    summary = json.loads(done.stdout)
    assert (summary["pipeline"], summary["candidates"], summary["by_rule"]) == ("dedupe", 3, {"unknown_shape": 1})
    done = evolgen("decontaminate", "kept.jsonl", "--against", "rows.jsonl", "-o", "new.jsonl")
    assert done.returncode == 2
    assert "rows.jsonl:3: not JSON" in done.stderr


TASKS = r"""
{"match": "whether it is a classification", "answer": "No"}
{"match": "examples for a task", "answer": "{\"instances\": [{\"input\": \"\", \"output\": \"A fine answer.\"}]}"}
{"match": "write tasks", "answer": "{\"tasks\": [\"Tell me why rivers bend.\", \"Draw a long river.\", 5]}"}
{"answer": "Fine."}
"""


def test_tasks_grow_until_the_teacher_runs_dry() -> None:
    Path("script.jsonl").write_text(TASKS)
    grow = ("self-instruct", "seeds.txt", "-o", "out.jsonl", "--model", "scripted:script.jsonl")
    done = evolgen(*grow, "-n", "1")
    assert done.returncode == 0, done.stderr
    for text in ("Some of the rows", "Tell me why rivers bend.", "A fine answer.", "The funnel", "accepted: out.jsonl"):
        assert text in done.stdout
    done = evolgen(*grow, "-n", "2")
    assert done.returncode == 3
    assert re.search(r"gave (?=.*unread \d+)(?=.*blocked_words \d+).*rouge-l \d+.*; give other seeds", done.stderr)
    assert json.loads(Path("out.manifest.json").read_text())["complete"] is False
    assert evolgen(*grow).returncode == 2, "-n is needed"
    assert evolgen(*grow, "-n", "2", "--style", "alpaca").returncode == 2


def test_prompts_are_answered_from_standard_input() -> None:
    arguments = ("respond", "-", "-o", "out.jsonl", "--model", "scripted:script.jsonl", "--samples", "2")
    done = evolgen(*arguments, stdin=b'{"messages": [{"role": "user", "content": "Hi [b]there[/b]"}]}\n')
    assert done.returncode == 0, done.stderr
    assert "Hi [b]there[/b]" in done.stdout
    assert [row["messages"][-1]["role"] for row in rows(Path("out.jsonl"))] == ["assistant"] * 2


def test_a_chain_shows_its_stages() -> None:
    Path("recipe.toml").write_text(
        'out = "all.jsonl"\nmodel = "scripted:script.jsonl"\n[evolve]\nseeds = "seeds.txt"\nrounds = 2\n[dedupe]\n'
    )
    done = evolgen("run", "recipe.toml")
    assert done.returncode == 0, done.stderr
    assert "stage 2 of 2, dedupe" in done.stderr
    assert re.search(r"evol-instruct +4 +4 +0\s+dedupe +4 +\d +\d", done.stdout)
    assert json.loads(evolgen("run", "recipe.toml", "--json").stdout)["stages"][1]["pipeline"] == "dedupe"
    Path("recipe.toml").write_text(Path("recipe.toml").read_text() + "[respond]\nsamples = 0\n")
    done = evolgen("run", "recipe.toml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "recipe.toml: [respond] samples" in done.stderr


def test_rules_are_listed_without_an_input() -> None:
    done = evolgen("filter", "--list-rules")
    assert done.returncode == 0
    assert "wrong_arithmetic\n    row: rejects an answer with a calculation that is wrong" in done.stdout


def test_a_recipe_filters_as_the_flags_do() -> None:
    Path("rows.jsonl").write_text(
        '{"instruction": "Write to a@mail.com"}\n{"instruction": "Name a lake", "output": "Como"}\n'
    )
    Path("recipe.toml").write_text(
        '[filter]\ninputs = "rows.jsonl"\nout = "a.jsonl"\npreset = ["clean"]\nno_rule = ["refusal"]\n'
        'rule = {min_output_words = 2, email = "mask"}\n'
    )
    assert evolgen("run", "recipe.toml").returncode == 0
    flags = ("--preset", "clean", "--no-rule", "refusal", "--rule", "min_output_words=2", "--rule", "email=mask")
    assert evolgen("filter", "rows.jsonl", "-o", "b.jsonl", *flags).returncode == 0
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes() == b'{"instruction": "Write to [EMAIL]"}\n'


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["filter", "rows.jsonl", "--rule", "min_ouput_words=5"], "did you mean min_output_words?"),
        (["filter", "rows.jsonl", "--preset", "alpacca"], "did you mean alpaca?"),
        (["filter", "rows.jsonl", "--strict"], "rows.jsonl:2: not JSON"),
        (["filter", "gone.jsonl"], "gone.jsonl: it can't be read"),
        (["dedupe", "rows.jsonl", "--method", "rouge"], "method"),
        (["dedupe", "rows.jsonl", "--threshold", "2"], "must lie between 0 and 1"),
        (["dedupe", "rows.jsonl", "--method", "semantic", "--base-url", "http://x"], "--model"),
        (["decontaminate", "rows.jsonl"], "--against"),
    ],
)
def test_curating_wrongly_is_exit_2_and_writes_nothing(arguments: list[str], problem: str) -> None:
    Path("rows.jsonl").write_text('{"instruction": "Name a river."}\n{bad\n')
    done = evolgen(*arguments, "-o", "out.jsonl")
    assert done.returncode == 2
    assert problem in done.stderr
    assert not list(Path().glob("out*"))


def test_models_are_listed() -> None:
    done = evolgen("models", "list")
    assert done.returncode == 0
    assert "local:smollm2-135m" in done.stdout
    assert evolgen("models", "pull", "gone").returncode == 2
    entries = json.loads(evolgen("models", "list", "--json").stdout)
    assert {"name", "size", "licence", "context", "about", "here"} <= entries[0].keys()
    assert "vicuna-v1.1" in evolgen("models", "templates").stdout
    assert evolgen("models", "rm", "gone").returncode == 2


@pytest.mark.parametrize(
    ("command", "page"),
    [("chat", "local"), ("serve", "local"), ("models info", "local"), ("models quantize", "local"),
     ("batches list", "teachers"), ("batches cancel", "teachers"), ("store info", "endpoints"),
     ("store prune", "endpoints")],
)  # fmt: skip
def test_the_flags_of_other_commands_are_documented(command: str, page: str) -> None:
    shown = evolgen(*command.split(), "--help").stdout
    docs = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    flags = set(re.findall(r"--[a-z-]+", shown)) - {"--help", "--debug", "--model"}
    assert flags
    assert [flag for flag in sorted(flags) if not re.search(rf"{flag}\b", docs)] == []


def test_a_store_says_what_it_holds_and_forgets() -> None:
    Path("prompts.txt").write_text("Name a river.\nName a lake.\n")
    Path("script.jsonl").write_text('{"answer": "The Po."}\n')
    assert evolgen("respond", "prompts.txt", "-o", "out.jsonl", "--model", "scripted:script.jsonl").returncode == 0
    store = Path(".evolgen/store.sqlite")
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute("UPDATE answers SET created = 0 WHERE rowid = 1")
        db.execute("INSERT INTO answers (key, answer, created) VALUES (zeroblob(32), '{', 1.0)")
    told = json.loads(evolgen("store", "info", "--json", "-o", "out.jsonl").stdout)
    assert (told["answers"], told["damaged"], told["embeddings"]) == (3, 1, 0)
    assert told["oldest"].startswith("1970")
    assert told["output_tokens"] > 0
    assert "3 answers, 0 of them embeddings, 1 damaged" in evolgen("store", "info").stdout
    assert evolgen("store", "prune", "--damaged", "--dry-run").stdout == "answers that would be forgotten: 1\n"
    assert evolgen("store", "prune", "--damaged").stdout == "answers forgotten: 1\n"
    assert evolgen("store", "prune", "--older-than", "90d").stdout == "answers forgotten: 1\n"
    assert json.loads(evolgen("store", "info", "--json").stdout)["answers"] == 1
    for wrong in (("prune",), ("prune", "--older-than", "soon"), ("info", "--store", "gone")):
        assert evolgen("store", *wrong).returncode == 2
    assert not Path("gone").exists()


def test_the_program_itself_starts_and_ends() -> None:
    """The one test here of a real process: the others run the same in this one."""
    command = [sys.executable, "-m", "evolgen"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert re.fullmatch(r"evolgen \d+\.\d+\.\d+\n", done.stdout)
    done = subprocess.run([*command, "evolve", "gone.jsonl", "-o", "out.jsonl"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    command += ["evolve", "-", "-o", "out.jsonl", "--model", "scripted:script.jsonl", "--rounds", "1"]
    assert subprocess.run(command, input=b"Name a lake.\n", capture_output=True).returncode == 0
