"""`evolve` on the embedded model against a bare load generator on the same in-process server, in turn.

    python -m tests.bench.local

The load generator puts the very same questions in the same order, with as many in flight, and does nothing else. The
second baseline puts them one at a time, and has the server forget each prompt. Rates count from the first question to
the last answer, so loading the model is left out.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import evolgen
from evolgen.asking import Request
from evolgen.backends import Response
from evolgen.backends.openai_http import OpenAIBackend
from evolgen.config.address import Address
from evolgen.runner.models import EMBEDDED
from evolgen.runner.server import LocalServer, Serving, cores, slots_for

PAIRS = 3
SEEDS = 12
MAX_TOKENS = 128

Asked = list[tuple[Request, float, float, Response]]
"""Questions with when they were put, when they were answered, and how."""


def evolve(seeds: Sequence[Any]) -> tuple[Asked, Any]:
    """Run `evolve` as a person does, and note every call."""
    asked: Asked = []
    complete = OpenAIBackend.complete

    async def noted(self: OpenAIBackend, model: str, request: Request, extra: Any = None) -> Response:
        began = time.perf_counter()
        response = await complete(self, model, request, extra)
        asked.append((request, began, time.perf_counter(), response))
        return response

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(OpenAIBackend, "complete", noted):
        summary = evolgen.evolve(
            seeds=list(seeds), out=Path(folder) / "out.jsonl", store=Path(folder) / "store.sqlite", rounds=2,
            max_tokens=MAX_TOKENS, model="local:smollm2-135m",
        )  # fmt: skip
    return asked, summary


def bare(requests: Sequence[Request], in_flight: int, *, remember: bool) -> Asked:
    """Put the same questions, with so many in flight."""
    server = LocalServer(EMBEDDED.pull(), Serving(slots=in_flight, key="bench"))
    asked: Asked = []

    async def run() -> None:
        backend = OpenAIBackend(Address(server.url), lambda: "bench", timeout=600, connections=in_flight)
        left = iter(requests)

        async def worker() -> None:
            for request in left:
                began = time.perf_counter()
                extra = {"seed": int.from_bytes(request.key({})[:4], "big"), "cache_prompt": remember}
                response = await backend.complete("m", request, extra)
                asked.append((request, began, time.perf_counter(), response))

        await asyncio.gather(*(worker() for _ in range(in_flight)))
        await backend.close()

    asyncio.run(run())
    server.close()
    return asked


def rate(asked: Asked, label: str) -> float:
    """Generated tokens a second."""
    usage: list[dict[str, Any]] = [response["usage"] for *_, response in asked]
    seconds = max(end for _, _, end, _ in asked) - min(begin for _, begin, *_ in asked)
    written: int = sum(each["completion_tokens"] for each in usage)
    read = sum(each["prompt_tokens"] for each in usage)
    cached = sum((each.get("prompt_tokens_details") or {}).get("cached_tokens", 0) for each in usage)
    print(
        f"  {label:<34} {len(asked):4} requests {seconds:6.1f} s  {written / seconds:6.1f} tokens/s written  "
        f"{100 * cached / read:3.0f}% of {read:,} prompt tokens cached"
    )
    return written / seconds


def main() -> None:
    seeds = [json.loads(line) for line in Path("examples/seeds.jsonl").read_text("utf-8").splitlines()[:SEEDS]]
    slots = slots_for(cores())
    print(f"local: {SEEDS} seeds, two rounds, all operators, {slots} slots, {cores()} threads, {PAIRS} pairs in turn")
    ratios = []
    requests: list[Request] = []
    for _ in range(PAIRS):
        asked, summary = evolve(seeds)
        ours = rate(asked, "evolve")
        requests = [request for request, *_ in sorted(asked, key=lambda each: each[1])]
        theirs = rate(bare(requests, slots, remember=True), "bare load generator")
        ratios.append(ours / theirs)
        print(f"  evolve / bare: {ratios[-1]:.2f}; rows accepted {summary.accepted} of {summary.candidates}")
    print(f"  evolve / bare load generator, median: {statistics.median(ratios):.2f}")
    alone = rate(bare(requests, 1, remember=False), "one at a time, nothing remembered")
    print(f"  evolve / one at a time without prompt cache: {ours / alone:.2f}")


if __name__ == "__main__":
    main()
