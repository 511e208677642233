"""The asking engine against a bare loop over the same client, each in a fresh process, one after the other.

    python -m tests.bench.engine [store] [throughput] [tail] [limited] [memory] [replay]

A bare loop evolves, judges and answers each seed with the very same requests and does nothing else: no store,
no parsing, no output. Rates are taken from the first to the last answer, so that start-up is a figure of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from evolgen.prompts import PromptLibrary
from tests.bench.server import running

PAIRS = 3
"""Runs of each contender, in turn: this machine is noisy, and the median says more than one run."""

Figures = dict[str, float]


def measure(what: str, url: str, seeds: int, concurrency: int, folder: Path) -> Figures:
    """Run one of the contenders in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.engine", f"--{what}", url, str(seeds), str(concurrency), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(figures: Figures, label: str) -> None:
    print(
        f"  {label:<10} {figures['rate']:7.0f} answers/s  {figures['seconds']:6.1f} s from first to last answer  "
        f"start-up {figures['startup']:4.2f} s  {figures['cpu_ms']:5.2f} ms CPU/request  "
        f"{figures['peak_mb']:5.0f} MB peak"
    )


def throughput() -> None:
    with running(0.2) as url:
        for concurrency in (64, 256):
            print(f"throughput: 2,000 seeds, one round, 200 ms latency, {concurrency} in flight, {PAIRS} pairs of runs")
            ratios = []
            for _ in range(PAIRS):
                with tempfile.TemporaryDirectory() as folder:
                    bare = measure("bare", url, 2000, concurrency, Path(folder))
                    ours = measure("evolgen", url, 2000, concurrency, Path(folder))
                report(bare, "bare loop")
                report(ours, "evolgen")
                ratios.append(ours["rate"] / bare["rate"])
            print(f"  evolgen / bare loop, median: {statistics.median(ratios):.2f}")


def store() -> None:
    """Group commits, against one commit an answer on the same disk."""
    from evolgen.answers import Entry
    from evolgen.engine.keep import GroupCommit
    from evolgen.store import Store

    answer = json.dumps({"choices": [{"message": {"content": "x" * 1500}}]})

    async def keep(count: int, in_flight: int, path: Path) -> float:
        keeper = GroupCommit(Store(path))
        numbers = iter(range(count))

        async def worker() -> None:
            for number in numbers:
                await keeper.keep([Entry(hashlib.sha256(str(number).encode()).digest(), answer)])

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return count / (time.perf_counter() - started)

    with tempfile.TemporaryDirectory(dir=".") as folder:
        single = asyncio.run(keep(1_000, 1, Path(folder) / "single.sqlite"))
        group = asyncio.run(keep(20_000, 256, Path(folder) / "group.sqlite"))
    print("store: durable answers of 1.5 kB")
    print(f"  one commit an answer {single:.0f}/s, in groups with 256 in flight {group:.0f}/s: {group / single:.1f} x")


def tail() -> None:
    print("heavy tail: 5% of answers 5 s and the rest 0.2 s, 50 in flight")
    for what, bare_loop, contender in (
        ("400 seeds, one round", "bare", "evolgen"),
        ("400 prompts, one call each", "bare-answers", "respond"),
    ):
        with running(0.2, 0.05, 5.0) as url, tempfile.TemporaryDirectory() as folder:
            bare = measure(bare_loop, url, 400, 50, Path(folder))
            ours = measure(contender, url, 400, 50, Path(folder))
        report(bare, "bare loop")
        report(ours, "evolgen")
        print(f"  {what}: evolgen / bare loop, time: {ours['seconds'] / bare['seconds']:.2f}")


def limited() -> None:
    """120 answers; the bound is 2 s for each 429 that one question met, and 2 s on top."""
    print("429: 120 prompts, 30% of calls answer 429 with Retry-After: 2, 0.2 s latency, 32 in flight")
    with running(0.2, limited_share=0.3) as url, tempfile.TemporaryDirectory() as folder:
        ours = measure("respond", url, 120, 32, Path(folder))
        with urllib.request.urlopen(url) as said:
            most = int(said.read())
    print(f"  {ours['seconds']:.1f} s from the first call on; most 429s of a question {most}: bound {2 * most + 2} s")


def memory() -> None:
    print("memory: one round, no latency, 256 in flight")
    with running(0.0) as url, tempfile.TemporaryDirectory() as folder:
        small = measure("evolgen", url, 2_000, 256, Path(folder) / "small")
        large = measure("evolgen", url, 50_000, 256, Path(folder) / "large")
        report(small, "2,000")
        report(large, "50,000")
        print(f"  peak at 50,000 seeds / at 2,000: {large['peak_mb'] / small['peak_mb']:.2f}")
        again = measure("evolgen", url, 50_000, 256, Path(folder) / "large")
        print(f"  replaying all of it from the store: {again['replayed'] / again['total']:.0f} answers/s")


def replay() -> None:
    print("replay: 2,000 seeds, one round, all answers in the store")
    with running(0.0) as url, tempfile.TemporaryDirectory() as folder:
        paid = measure("evolgen", url, 2000, 64, Path(folder))
        again = measure("evolgen", url, 2000, 64, Path(folder))
    print(f"  {again['replayed'] / again['total']:.0f} answers/s from the store, {paid['rate']:.0f} from the endpoint")


def write_seeds(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "seeds.jsonl"
    path.write_text(
        "".join(json.dumps({"instruction": f"Explain thing {i} in a few words."}) + "\n" for i in range(count))
    )
    return path


def evolgen_run(url: str, seeds: int, concurrency: int, folder: Path) -> Figures:
    """What `evolgen evolve` does, with a clock on the first and the last answer."""
    import evolgen
    from evolgen.cli.process import tuned_interpreter
    from evolgen.events import Event, Stored

    source = write_seeds(folder, seeds)
    times: list[float] = []
    started = time.perf_counter()

    def watch(event: Event) -> None:
        if isinstance(event, Stored):
            times.append(time.perf_counter())

    with tuned_interpreter():
        summary = evolgen.evolve(
            seeds=source, out=folder / "out.jsonl", store=folder / "store.sqlite", model="m", base_url=url, rounds=1,
            concurrency=concurrency, observer=watch,
        )  # fmt: skip
    total = time.perf_counter() - started
    return figures_of(started, times, summary.requests) | {"replayed": summary.replayed, "total": total}


def respond_run(url: str, prompts: int, concurrency: int, folder: Path) -> Figures:
    """What `evolgen respond` does, one call a prompt."""
    import evolgen
    from evolgen.events import Event, Failed, Stored

    started = time.perf_counter()
    times: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, Failed | Stored) and not times:  # a client's first call takes a while to get going
            times.append(time.perf_counter() - 0.2)

    summary = evolgen.respond(
        inputs=write_seeds(folder, prompts), out=folder / "out.jsonl", store=folder / "store.sqlite", model="m",
        base_url=url, concurrency=concurrency, observer=watch,
    )  # fmt: skip
    assert summary.accepted == prompts
    return figures_of(started, [*times, time.perf_counter()], summary.requests)


def bare_run(url: str, seeds: int, concurrency: int, folder: Path, *, answers_only: bool = False) -> Figures:
    """The same chains in a bare loop, or one call each."""
    started = time.perf_counter()
    times: list[float] = []

    async def loop() -> int:
        import httpx2
        import openai

        limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        http = openai.DefaultAioHttpClient(limits=limits, trust_env=False)
        client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=http)
        prompts = PromptLibrary()
        evolve, judge = prompts.load("evol_instruct/deepen"), prompts.load("judge/equal")
        left = iter(range(seeds))
        requests = 0

        async def ask(messages: Any, temperature: float) -> str:
            nonlocal requests
            body = {"model": "m", "temperature": temperature, "top_p": 0.95, "max_tokens": 2048,
                    "messages": [{"role": role, "content": content} for role, content in messages]}  # fmt: skip
            answer: Any = await client.post("/chat/completions", body=body, cast_to=object)
            requests += 1
            times.append(time.perf_counter())
            return str(answer["choices"][0]["message"]["content"])

        async def worker() -> None:
            for number in left:
                seed = f"Explain thing {number} in a few words."
                if answers_only:
                    await ask([("user", seed)], 0.7)
                    continue
                evolved = await ask(evolve.render(instruction=seed), 1.0)
                await ask(judge.render(first=seed, second=evolved), 0.0)
                await ask([("user", evolved)], 1.0)

        await asyncio.gather(*(worker() for _ in range(concurrency)))
        await client.close()
        return requests

    return figures_of(started, times, asyncio.run(loop()))


def figures_of(started: float, times: list[float], requests: int) -> Figures:
    first, last = (times[0], times[-1]) if times else (started, started + 1.0)
    return {
        "rate": requests / max(1e-9, last - first),
        "seconds": last - first,
        "startup": first - started,
        "cpu_ms": 1000 * time.process_time() / max(1, requests),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


BENCHMARKS = {
    "store": store,
    "throughput": throughput,
    "tail": tail,
    "limited": limited,
    "memory": memory,
    "replay": replay,
}

CONTENDERS: dict[str, Callable[..., Figures]] = {
    "--bare": bare_run,
    "--bare-answers": partial(bare_run, answers_only=True),
    "--evolgen": evolgen_run,
    "--respond": respond_run,
}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("--"):
        contender = CONTENDERS[sys.argv[1]]
        print(json.dumps(contender(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))))
    else:
        for name in sys.argv[1:] or BENCHMARKS:
            BENCHMARKS[name]()
