"""A store of an earlier version replays with no request, and the rows are the same, byte for byte.

`tests/golden/0.1` was written by evolgen 0.1.0 as it stood before commands had a table of their own: a store, and what
each of the runs below made with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import evolgen

OLD = Path(__file__).parent / "golden" / "0.1"

SEEDS: Any = [
    {"instruction": f"Say what {word} is for.", "input": "" if len(word) % 2 else "In two lines.", "output": f"{word}."}
    for word in ("salt", "rope", "glass", "paper", "ink", "soap", "wine", "nails", "cloth", "butter")
]
CHAT: Any = {
    "messages": [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": "The Po."},
        {"role": "user", "content": "And a lake?"},
    ]
}

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "evolve": ("evolve", {"seeds": SEEDS, "rounds": 2, "include_seeds": True, "seed": 3, "n": 12}),
    "self-instruct": ("self_instruct", {"seeds": SEEDS, "n": 12, "seed": 3, "model_tag": "second"}),
    "base-model": ("self_instruct", {"seeds": SEEDS, "n": 8, "completion": True, "temperature": 0.5}),
    "alpaca": ("self_instruct", {"seeds": SEEDS, "n": 8, "style": "alpaca", "max_tokens": 900}),
    "respond": ("respond", {"inputs": [*SEEDS[:3], CHAT], "samples": 2, "system": "Be kind.", "top_p": 0.9}),
    "dedupe": ("dedupe", {"inputs": [*SEEDS, SEEDS[0]], "method": "semantic", "threshold": 0.99}),
}


@pytest.mark.parametrize("name", RUNS)
def test_it_replays_with_no_request_and_gives_the_same_rows(name: str) -> None:
    shutil.copy(OLD / "store.sqlite", "store.sqlite")
    call, settings = RUNS[name]
    summary = getattr(evolgen, call)(
        out="out.jsonl", model="m", base_url="http://127.0.0.1:9/v1", store="store.sqlite", offline=True, **settings
    )
    assert summary.complete
    assert summary.requests == 0
    assert summary.replayed > 0
    for kind in ("", ".rejected"):
        assert Path(f"out{kind}.jsonl").read_bytes() == (OLD / f"{name}{kind}.jsonl").read_bytes()
