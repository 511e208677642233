"""What all commands share: how long they took, and when, whatever becomes of the clock meanwhile."""

from __future__ import annotations

import itertools
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import evolgen
from evolgen.asking import Request
from evolgen.report.summary import Summary

RECIPE = 'out = "out.jsonl"\nmodel = "m"\n[respond]\ninputs = ["in.jsonl"]\n[filter]\npreset = ["clean"]\n'


def slow(request: Request) -> str:
    time.sleep(0.05)
    return "The Danube."


RUNS: dict[str, Any] = {
    "respond": lambda: evolgen.respond(inputs="in.jsonl", out="out.jsonl", script=slow),
    "filter": lambda: evolgen.filter(inputs="in.jsonl", out="out.jsonl"),
    "chain": lambda: evolgen.run("recipe.toml", script=slow),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_clock_that_is_set_back_makes_no_time_negative(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.jsonl").write_text('{"instruction": "Name a river."}\n')
    Path("recipe.toml").write_text(RECIPE)
    hours = itertools.count(1)
    monkeypatch.setattr(time, "time", lambda: 1.8e9 - 3600 * next(hours))
    began = time.monotonic()
    summary: Summary = RUNS[name]()
    assert summary.complete
    assert (0.0 if name == "filter" else 0.05) <= summary.seconds <= time.monotonic() - began + 0.001
    assert summary.rows_per_second >= 0
    told = json.loads(Path("out.manifest.json").read_text())
    for stage in told.get("stages", [told]):
        assert datetime.fromisoformat(stage["started"]) <= datetime.fromisoformat(stage["finished"])
