"""A pipeline is one file and one line in the table: everything else reads the table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import evolgen
from evolgen.commands import COMMANDS
from tests.conftest import rows
from tests.program import evolgen as program

SHOUT = '''
"""`shout`: each instruction louder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from pydantic import Field

from evolgen.asking import Ask, Request
from evolgen.commands.command import Command, Means, Work
from evolgen.config import Inputs, Settings
from evolgen.errors import TeacherError
from evolgen.pipelines.draft import Draft
from evolgen.records import Record, Seed


class ShoutConfig(Settings):
    seeds: Inputs = Field(description="What is to be louder.")
    marks: int = Field(default=3, ge=1, description="Exclamation marks.")


async def shout(seed: Seed, ask: Ask, config: ShoutConfig) -> AsyncIterator[Record]:
    draft = Draft("shout", "shout", seed.id, parents=(seed.id,), instruction=seed.instruction)
    question = f"Say it with {config.marks} exclamation marks: {seed.instruction}"
    try:
        rejected = await draft.take_output(ask, Request("answer", (("user", question),), max_tokens=config.max_tokens))
        yield rejected or draft.end()
    except TeacherError as error:
        yield draft.failed(error)


def prepare(config: ShoutConfig, means: Means) -> Work:
    from evolgen.commands.generate import Job, generate
    from evolgen.engine.commit import KnownAnswers
    from evolgen.formats.inputs import source_rows
    from evolgen.formats.seeds import read_seeds

    seeds = read_seeds(source_rows(config.seeds, "seeds"), "shout", strict=config.strict)
    job = Job(
        name="shout",
        roles=("answer",),
        inputs=seeds,
        pipeline=lambda: partial(shout, config=config),
        visits=lambda: iter(seeds),
        known=KnownAnswers(),
        total=len(seeds),
        candidates=len(seeds),
    )
    return generate(job, config, means, reads=config.seeds)


SHOUT = Command(name="shout", help="Say it louder.", config=ShoutConfig, reads="seeds", prepare=prepare)
'''

SCRIPT = '{"match": "with (\\\\d) exclamation marks: (.+)", "answer": "{2}! ({1})"}\n'


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of somebody else's, with one file, and its one line."""
    (tmp_path / "louder").mkdir()
    (tmp_path / "louder" / "__init__.py").write_text(SHOUT)
    monkeypatch.syspath_prepend(tmp_path)
    import louder  # type: ignore[import-not-found]  # it was just made

    COMMANDS[louder.SHOUT.name] = louder.SHOUT
    Path("seeds.txt").write_text("Name a river.\nName a lake.\n")
    Path("script.jsonl").write_text(SCRIPT)
    yield
    del COMMANDS["shout"], sys.modules["louder"]
    vars(evolgen).pop("shout", None)


def shouting(*arguments: str) -> list[str]:
    """The program as it is when it starts with this table."""
    from evolgen.cli import main
    from evolgen.cli.options import settings_command

    if not any(each.name == "shout" for each in main.app.registered_commands):
        main.app.command("shout", help="Say it louder.")(settings_command(COMMANDS["shout"], main.carry_out))
    done = program(*arguments)
    main.app.registered_commands = [each for each in main.app.registered_commands if each.name != "shout"]
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_from_the_command_line() -> None:
    said = shouting("shout", "seeds.txt", "-o", "out.jsonl", "--model", "scripted:script.jsonl", "--marks", "5")
    assert [row["output"] for row in rows(Path("out.jsonl"))] == ["Name a river.! (5)", "Name a lake.! (5)"]
    assert any("Name a lake.! (5)" in line for line in said)
    assert any("--marks" in line for line in shouting("shout", "--help"))


def test_with_an_estimate() -> None:
    lines = shouting("shout", "seeds.txt", "-o", "o.jsonl", "--model", "m", "--base-url", "http://x/v1", "--estimate")
    assert lines[0] == "requests: 2 to 2 (answer 2 to 2)"


def test_in_a_recipe_and_a_chain() -> None:
    Path("one.toml").write_text(
        '[shout]\nseeds = "seeds.txt"\nout = "one.jsonl"\nmodel = "scripted:script.jsonl"\nmarks = 2\n'
    )
    assert shouting("run", "one.toml")
    assert rows(Path("one.jsonl"))[0]["output"] == "Name a river.! (2)"
    Path("two.toml").write_text(
        'out = "two.jsonl"\nmodel = "scripted:script.jsonl"\n[shout]\nseeds = "seeds.txt"\n[respond]\nsystem = "s"\n'
        "[filter]\npreset = 'evol-instruct'\n"
    )
    Path("script.jsonl").write_text(SCRIPT + '{"answer": "Something long enough to be kept."}\n')
    assert shouting("run", "two.toml")
    assert [row["provenance"]["pipeline"] for row in rows(Path("two.jsonl"))] == ["respond"] * 2


def test_in_python() -> None:
    assert "shout" in dir(evolgen)
    summary = evolgen.shout("seeds.txt", out="out.jsonl", script=lambda request: request.messages[-1][1].upper())
    assert (summary.command, summary.accepted) == ("shout", 2)
    assert evolgen.start(evolgen.ShoutConfig(seeds="seeds.txt", out="o.jsonl"), script=str).result().accepted == 2
