"""A run is a handle, for every command: several in one loop, from a thread, from a notebook."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import typing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

import evolgen
from evolgen.asking import Request
from evolgen.commands import COMMANDS
from evolgen.config.decontaminate import DecontaminateConfig
from evolgen.config.dedupe import DedupeConfig
from evolgen.config.evolve import EvolveConfig
from evolgen.config.filter import FilterConfig
from evolgen.config.respond import RespondConfig
from evolgen.config.run import RunConfig
from evolgen.config.self_instruct import SelfInstructConfig
from evolgen.events import Committed, Event, Stored
from evolgen.records import Seed
from evolgen.report import closing
from evolgen.report.preview import Preview
from tests.conftest import rows
from tests.teacher import Body, Teacher, completion, sensible

SEEDS: Any = [{"instruction": f"Describe thing number {number}.", "output": "So."} for number in range(40)]


def script(request: Request) -> str:
    messages = [{"role": role, "content": content} for role, content in request.messages]
    return sensible({"messages": messages, "sample": request.sample})


def the_hosts_own() -> list[object]:
    """What belongs to the program that calls evolgen."""
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return [*signals, gc.get_threshold(), gc.get_freeze_count(), sys.getswitchinterval()]


def evolving(teacher: Teacher, name: str) -> EvolveConfig:
    return EvolveConfig(
        seeds=SEEDS, out=Path(f"{name}.jsonl"), model="m", base_url=(teacher.address,), rounds=2, concurrency=4,
        store=Path(f"{name}.sqlite"),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:the observer")  # recording warnings is not for several threads
def test_three_runs_in_one_loop(teacher: Teacher) -> None:
    async def slowly(body: Body) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return completion(sensible(body))

    teacher.reply = slowly
    expected = evolgen.evolve(evolving(teacher, "alone"))
    before = the_hosts_own()

    def grumpy(event: Event) -> None:
        raise ValueError("not today")

    async def host() -> list[Any]:
        before = the_hosts_own()
        watched = evolgen.start(evolving(teacher, "watched"))
        stopped = evolgen.start(evolving(teacher, "stopped"))
        failing = evolgen.start(evolving(teacher, "failing"), observer=grumpy)
        assert the_hosts_own() == before, "also while they go"
        stored = 0
        async for event in stopped:
            if isinstance(event, Stored):
                stored += 1
                if stored == 30:
                    stopped.stop()
        return list(await asyncio.gather(watched.wait(), stopped.wait(), failing.wait()))

    watched, stopped, failing = asyncio.run(host())
    assert the_hosts_own() == before
    assert watched.complete
    assert failing.complete
    assert (stopped.complete, stopped.published) == (False, False)
    assert "interrupted; run the same command again" in str(stopped.stopped)
    for name in ("watched", "failing"):
        assert Path(f"{name}.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()
    asked = len(teacher.calls)
    again = evolgen.evolve(evolving(teacher, "stopped"))
    assert Path("stopped.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()
    assert again.replayed == stopped.requests, "a clean stop pays nothing twice"
    assert len(teacher.calls) - asked == expected.requests - stopped.requests


RECIPE = (
    'out = "chain.jsonl"\nstore = "c.sqlite"\n[respond]\ninputs = "seeds.jsonl"\n[filter]\n[dedupe]\nmethod="exact"\n'
)

CONFIGS: dict[str, BaseModel] = {
    "evolve": EvolveConfig(seeds=SEEDS, out=Path("out.jsonl"), rounds=1),
    "self-instruct": SelfInstructConfig(seeds=SEEDS, out=Path("out.jsonl"), n=20),
    "respond": RespondConfig(inputs=SEEDS, out=Path("out.jsonl")),
    "filter": FilterConfig(inputs=SEEDS, out=Path("out.jsonl")),
    "dedupe": DedupeConfig(inputs=SEEDS, out=Path("out.jsonl")),
    "decontaminate": DecontaminateConfig(inputs=SEEDS, out=Path("out.jsonl"), against=[Path("seeds.jsonl")]),
    "run": RunConfig(recipe=Path("recipe.toml")),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_handle(command: str) -> None:
    Path("seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in SEEDS))
    Path("recipe.toml").write_text(RECIPE)
    run = evolgen.start(CONFIGS[command], script=script)
    events = list(run.events())
    assert run.summary is not None
    assert run.result() is run.summary
    assert run.summary.complete
    assert run.summary.command == command
    assert {event.run for event in events} == {run.id}
    stages = {"run", "1-respond", "2-filter", "3-dedupe"} if command == "run" else {command}
    assert {event.stage for event in events} == stages
    for event in events:
        assert json.loads(event.to_json())["event"]
    assert run.summary._repr_html_().startswith(f"<table><caption>{command}")


def test_a_chain_is_stopped_in_the_middle() -> None:
    Path("seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in SEEDS))
    Path("recipe.toml").write_text(RECIPE)
    run = evolgen.start(RunConfig(recipe=Path("recipe.toml")), script=script)
    for event in run.events():
        if event.stage == "2-filter":
            run.stop()
    summary = run.result()
    if not summary.complete:  # the rest may have been quicker
        assert str(summary.stopped).startswith(("stage 2 of 3", "stage 3 of 3"))
        assert not Path("chain.jsonl").exists()


def test_from_a_thread() -> None:
    found: list[Any] = []

    def work() -> None:
        run = evolgen.start(CONFIGS["respond"], script=script)
        found.extend([sum(isinstance(event, Committed) for event in run.events()), run.result().accepted])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert found == [40, 40]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (EvolveConfig(seeds=["gone.jsonl"], out=Path("o.jsonl")), "gone.jsonl: it can't be read"),
        (EvolveConfig(seeds=SEEDS, out=Path("o.jsonl"), operators={"deepn": 1.0}), "did you mean deepen"),
        (EvolveConfig(seeds=SEEDS, out=Path(), model="scripted:s"), "this is a folder"),
        (RespondConfig(inputs=SEEDS, out=Path("o.jsonl"), model="local:gone.gguf"), "gone.gguf"),
        (FilterConfig(inputs=["gone.jsonl"], out=Path("o.jsonl")), "gone.jsonl: it can't be read"),
        (FilterConfig(inputs=SEEDS, out=Path("o.jsonl"), preset=("clear",)), "did you mean clean"),
        (DedupeConfig(inputs=SEEDS, out=Path("o.jsonl"), against=[Path("gone.txt")]), "gone.txt: it can't be read"),
        (RunConfig(recipe=Path("gone.toml")), "gone.toml: can't be read"),
    ],
)
def test_what_is_wrong_is_raised_by_start(config: BaseModel, problem: str) -> None:
    with pytest.raises(evolgen.EvolgenError) as caught:
        evolgen.start(config, script=None if getattr(config, "model", None) else script)
    assert problem in str(caught.value)


def test_functions_are_found_and_their_signatures_show_the_settings() -> None:
    assert {command.function for command in COMMANDS.values()} <= set(dir(evolgen))
    assert {"start", "Run", "Summary", "EvolveConfig", "list_batches"} <= set(dir(evolgen))
    for command in COMMANDS.values():
        parameters = inspect.signature(getattr(evolgen, command.function)).parameters
        assert set(command.config.model_fields) <= set(parameters)
        assert command.help in str(getattr(evolgen, command.function).__doc__)
    assert inspect.signature(evolgen.evolve).parameters["rounds"].default == 4
    assert set(getattr(evolgen, "__all__")) == set(dir(evolgen))  # noqa: B009
    for function in (evolgen.evolve, evolgen.self_instruct):
        assert pickle.loads(pickle.dumps(function)) is function
    hints = typing.get_type_hints(evolgen.evolve)
    assert (hints["rounds"], hints["return"]) == (int, evolgen.Summary)
    with pytest.raises(AttributeError, match="no attribute 'evolv'"):
        evolgen.evolv  # noqa: B018


def test_the_input_may_come_first_and_configs_are_told_apart() -> None:
    Path("prompts.txt").write_text("Name a river.\n")
    assert evolgen.respond("prompts.txt", out="out.jsonl", script=script).accepted == 1
    with pytest.raises(evolgen.UsageError, match="inputs: it is given twice, as the first argument and by its name"):
        evolgen.respond("nothere.txt", inputs="prompts.txt", out="again.jsonl", script=script)
    with pytest.raises(evolgen.UsageError, match="respond takes a RespondConfig, not a FilterConfig"):
        evolgen.respond(FilterConfig(inputs=["prompts.txt"], out=Path("out.jsonl")))
    with pytest.raises(evolgen.UsageError, match="no command takes a Seed"):
        evolgen.start(Seed(instruction="Name a river."))


def test_a_program_may_go_to_another_folder_meanwhile(teacher: Teacher, tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def when_told(body: Body) -> web.StreamResponse:
        await gate.wait()
        return completion(sensible(body))

    teacher.reply = when_told
    (tmp_path / "other").mkdir()
    run = evolgen.start(evolving(teacher, "here"))
    os.chdir("other")
    while not teacher.calls:
        time.sleep(0.01)
    teacher._loop.call_soon_threadsafe(gate.set)
    assert run.result().complete
    assert len(rows(tmp_path / "here.jsonl")) == 80
    assert list(Path().iterdir()) == []


ENDING = """
import evolgen, time
def script(request):
    time.sleep(0.005)
    return "Fine words."
run = evolgen.start(
    evolgen.RespondConfig(inputs=[{"instruction": f"Q {n}"} for n in range(300)], out="out.jsonl"), script=script
)
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(5)", "raise ValueError('no')"])
def test_a_program_that_ends_waits_for_its_runs(end: str) -> None:
    subprocess.run([sys.executable, "-c", ENDING + end], capture_output=True, timeout=120)
    assert len(rows(Path("out.jsonl"))) == 300


def test_ctrl_c_stops_the_run_of_a_program_cleanly(teacher: Teacher) -> None:
    async def slowly(body: Body) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return completion(sensible(body))

    teacher.reply = slowly
    command = f"""
import evolgen, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    evolgen.respond([{{"instruction": f"Q {{n}}"}} for n in range(500)], out="out.jsonl", model="m", concurrency=4,
                    base_url="{teacher.url}")
except KeyboardInterrupt:
    print("stopped")
"""
    process = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE)
    while len(teacher.calls) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == b"stopped\n"
    asked = len(teacher.calls)
    assert asked < 60
    again = evolgen.respond(
        [{"instruction": f"Q {n}"} for n in range(60)], out="out.jsonl", model="m", base_url=teacher.url
    )
    assert again.replayed == asked, "what was in flight was waited for and stored"


def test_a_second_stop_ends_it_at_once(teacher: Teacher) -> None:
    async def never(body: Body) -> web.StreamResponse:
        await asyncio.sleep(600)
        return completion("late")

    teacher.reply = never
    run = evolgen.start(RespondConfig(inputs=SEEDS, out=Path("o.jsonl"), model="m", base_url=(teacher.address,)))
    while len(teacher.calls) < 5:
        time.sleep(0.01)
    run.stop()
    time.sleep(0.1)
    assert run.summary is None, "calls in flight are waited for"
    run.stop()
    assert "stopped at once" in str(run.result().stopped)
    assert rows(Path("o.jsonl.part")) if Path("o.jsonl.part").exists() else True


@pytest.mark.parametrize("stops", [1, 2])
def test_a_probe_that_is_stopped_has_a_summary(
    teacher: Teacher, stops: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = asyncio.Event()

    async def when_told(body: Body) -> web.StreamResponse:
        await asyncio.wait_for(gate.wait(), 2 if stops == 1 else 600)
        return completion("late")

    teacher.reply = when_told
    run = evolgen.start(RespondConfig(
        inputs=SEEDS, out=Path("o.jsonl"), model="m", base_url=(teacher.address,), estimate=True, probe=10, attempts=1
    ))  # fmt: skip
    while len(teacher.calls) < 5:
        time.sleep(0.01)
    for _ in range(stops):
        run.stop()
        time.sleep(0.05)
    summary = run.result()
    assert summary.stopped is not None
    assert (summary.estimate, summary.complete) == (None, False)
    closing.show(closing.generation, summary, Preview())
    said = capsys.readouterr().out
    assert "asked for this: 10 requests" in said
    assert "funnel" not in said


NOTEBOOK = """
import asyncio, signal, evolgen
before = signal.getsignal(signal.SIGINT)
script = lambda request: f"On this: {request.messages[-1][1][:30]} and so on."
seeds = [{"instruction": f"Name river number {number}."} for number in range(20)]
summary = evolgen.respond(inputs=seeds, out="plain.jsonl", script=script)
print(summary.accepted, "plain")
run = evolgen.start(evolgen.RespondConfig(inputs=seeds, out="handle.jsonl"), script=script)
print(sum([1 async for event in run]) > 20, (await run.wait()).accepted, "handle")
print(signal.getsignal(signal.SIGINT) is before, "signals")
summary
"""


@pytest.mark.slow
def test_in_a_notebook() -> None:
    import nbformat
    from nbclient import NotebookClient

    cell: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": NOTEBOOK,
    }
    notebook: Any = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell]}
    )
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
    outputs = notebook.cells[0].outputs
    said = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    assert said.splitlines() == ["20 plain", "True 20 handle", "True signals"]
    progress = str([output for output in outputs if output.output_type != "execute_result"])
    assert "respond" in progress
    assert "20 accepted" in progress
    (shown,) = [output.data["text/html"] for output in outputs if output.output_type == "execute_result"]
    assert "<caption>respond</caption>" in shown
    assert len(rows(Path("plain.jsonl"))) == 20
