"""Benchmarks of filter, dedupe and decontaminate, each beside a baseline in the same run.

python -m tests.bench.curate [exact|clean|rouge|minhash|semantic|decontaminate]...
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import evolgen
from evolgen.curate.decontaminate import Benchmarks
from evolgen.curate.minhash import near_by_minhash
from evolgen.curate.rouge_l import RougeLIndex
from evolgen.curate.tokens import unicode_tokens
from evolgen.records import Texts
from tests.bench.corpus import Kind, corpus

ROUGE_SAMPLE = 1500
NGRAM, THRESHOLD = 5, 0.7


def exact() -> None:
    """File to file, beside a loop that reads the JSON, looks a text up in a set and writes the line."""
    rows = 200_000
    path = _file("mixed", rows)
    began = time.process_time()
    seen: set[str] = set()
    with path.open("rb") as source, path.with_suffix(".bare").open("wb") as out:
        for line in source:
            text = " ".join(json.loads(line)["instruction"].lower().split())
            if text not in seen:
                seen.add(text)
                out.write(line)
    bare = time.process_time() - began
    began = time.process_time()
    evolgen.dedupe(inputs=path, out=path.with_name("exact.jsonl"), method="exact", force=True)
    ours = time.process_time() - began
    print(f"exact: {rows / ours:,.0f} rows/s a core, {bare / ours:.2f} x a bare loop ({rows / bare:,.0f} rows/s)")


def clean() -> None:
    """The preset on answers of 60 words, beside reading the JSON alone."""
    rows = 50_000
    path = _file("mixed", rows, answer_words=60)
    began = time.process_time()
    with path.open("rb") as source:
        for line in source:
            json.loads(line)
    bare = time.process_time() - began
    began = time.process_time()
    evolgen.filter(inputs=path, out=path.with_name("clean.jsonl"), preset="clean", force=True)
    ours = time.process_time() - began
    print(f"clean: {rows / ours:,.0f} rows/s a core, {bare / ours:.3f} x json.loads alone ({rows / bare:,.0f}/s)")


def rouge() -> None:
    """Against rouge_score's own loop over the first rows, extrapolated by the pairs that it would compare."""
    kinds: tuple[Kind, ...] = ("mixed", "template")
    for kind in kinds:
        texts = list(corpus(200_000, kind))
        pairs, seconds = _rouge_score_loop(texts[:ROUGE_SAMPLE])
        before = 0.0
        for rows in (50_000, 200_000):
            kept, ours = _rouge_index(texts[:rows])
            theirs = seconds / pairs * rows * (rows - 1) / 2 * (kept / rows)
            growth = f", growth exponent {math.log(ours / before, rows / 50_000):.2f}" if before else ""
            before = ours
            figures = f"{rows:,} rows in {ours:.1f} s of CPU, {rows - kept:,} dropped, {theirs / ours:,.0f} x"
            print(f"rouge-l {kind}: {figures} rouge_score's loop (about {theirs / 3600:,.0f} h){growth}", flush=True)


def minhash() -> None:
    """A million rows, beside rensa's deduplicator, each in a process of its own; then what both miss."""
    for rows in (1_000_000, 50_000):
        path = _file("mixed", rows)
        results = {}
        for name in ("rensa", "ours"):
            command = [sys.executable, "-m", "tests.bench.curate", f"_{name}", str(path)]
            results[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours, rensa = results["ours"], results["rensa"]
        for name, result in results.items():
            print(f"minhash {rows:,} rows, {name}: {result['seconds']:.1f} s, {result['cpu']:.1f} s of CPU, "
                  f"{result['mb']:,} MB, {len(result['dropped']):,} dropped")  # fmt: skip
        print(f"minhash: {rensa['seconds'] / ours['seconds']:.1f} x as fast as rensa, with "
              f"{ours['mb'] / rensa['mb']:.2f} x its memory", flush=True)  # fmt: skip
    texts = [json.loads(line)["instruction"] for line in path.open("rb")]
    truth = _exact_jaccard(texts)
    for name, result in results.items():
        dropped = set(result["dropped"])
        print(f"minhash {rows:,} rows, {name}: of {len(truth):,} to drop {len(truth - dropped):,} missed, "
              f"{len(dropped - truth):,} dropped that should stay")  # fmt: skip


def semantic() -> None:
    """The exact search over 50,000 vectors of 384 numbers, beside the matrix product alone."""
    import numpy as np

    from evolgen.curate.semantic import BLOCK, near_by_vectors

    vectors = np.random.default_rng(0).normal(size=(50_000, 384)).astype(np.float32)
    began = time.process_time()
    for start in range(0, len(vectors), BLOCK):
        vectors[start : start + BLOCK] @ vectors[:start].T
    bare = time.process_time() - began
    began = time.process_time()
    sum(found is not None for found in near_by_vectors(vectors))
    ours = time.process_time() - began
    print(f"semantic: 50,000 rows in {ours:.1f} s of CPU, {bare / ours:.2f} x the bare matrix product")


def decontaminate() -> None:
    """Rows against 2,000 benchmark items, beside tokenizing them alone."""
    texts = list(corpus(52_000, "mixed"))
    bench = Benchmarks()
    for number, item in enumerate(texts[:2000]):
        bench.add(str(number), f"bench:{number}", item)
    began = time.process_time()
    for text in texts[2000:]:
        unicode_tokens(text)
    bare = time.process_time() - began
    began = time.process_time()
    hits = sum(bench.find(Texts(text)) is not None for text in texts[2000:])
    ours = time.process_time() - began
    print(f"decontaminate: {50_000 / ours:,.0f} rows/s, {hits} hits, {bare / ours:.2f} x tokenizing alone")


def _rouge_score_loop(texts: list[str]) -> tuple[int, float]:
    """Each text against every kept one, as Self-Instruct does it: pairs compared, and seconds of CPU."""
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    kept: list[str] = []
    pairs, began = 0, time.process_time()
    for text in texts:
        pairs += len(kept)
        if all(scorer.score(other, text)["rougeL"].fmeasure <= THRESHOLD for other in kept):
            kept.append(text)
    return pairs, time.process_time() - began


def _rouge_index(texts: list[str]) -> tuple[int, float]:
    began = time.process_time()
    index = RougeLIndex(THRESHOLD)
    for text in texts:
        if index.nearest(text) is None:
            index.add(text)
    return len(index), time.process_time() - began


def _exact_jaccard(texts: list[str]) -> set[int]:
    """What true Jaccard similarity drops, by a prefix index in plain Python: nothing is missed."""
    sets = [_ngrams(text) for text in texts]
    frequency: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for own in sets:
        for gram in own:
            frequency[gram] += 1
    postings: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    dropped = set()
    for position, own in enumerate(sets):
        prefix = sorted(own, key=lambda gram: (frequency[gram], gram))[: len(own) - math.ceil(THRESHOLD * len(own)) + 1]
        others = {other for gram in prefix for other in postings[gram]}
        if any(len(own & sets[other]) > THRESHOLD * len(own | sets[other]) for other in others):
            dropped.add(position)
        else:
            for gram in prefix:
                postings[gram].append(position)
    return dropped


def _ngrams(text: str) -> set[tuple[str, ...]]:
    words = unicode_tokens(text)
    return {tuple(words[start : start + NGRAM]) for start in range(max(1, len(words) - NGRAM + 1))}


def _ours(path: str) -> None:
    with Path(path).open("rb") as file:
        texts = (json.loads(line)["instruction"] for line in file)
        _measured(lambda: [at for at, found in enumerate(near_by_minhash(texts, threshold=THRESHOLD)) if found])


def _rensa(path: str) -> None:
    from rensa import RMinHashDeduplicator

    deduplicator = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True, num_bands=32, seed=42)

    def run() -> list[int]:
        dropped = []
        with Path(path).open("rb") as file:
            pairs = []
            for number, line in enumerate(file):
                words = json.loads(line)["instruction"].split()
                grams = [" ".join(words[start : start + NGRAM]) for start in range(max(1, len(words) - NGRAM + 1))]
                pairs.append((str(number), grams))
                if len(pairs) == 10_000:
                    dropped += _add(deduplicator, pairs)
            dropped += _add(deduplicator, pairs)
        return dropped

    _measured(run)


def _add(deduplicator: object, pairs: list[tuple[str, list[str]]]) -> list[int]:
    added = deduplicator.add_pairs(pairs)  # type: ignore[attr-defined]
    dropped = [int(key) for (key, _), new in zip(pairs, added, strict=True) if not new]
    pairs.clear()
    return dropped


def _measured(run: Callable[[], list[int]]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    dropped = run()
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mb": usage, "dropped": dropped}))


def _file(kind: Kind, rows: int, answer_words: int = 0) -> Path:
    """A JSONL file of a corpus in a folder of its own."""
    path = Path(tempfile.mkdtemp(prefix="evolgen-bench-")) / "rows.jsonl"
    words = " ".join(corpus(4000, kind, seed=9)).split() if answer_words else []
    with path.open("w") as file:
        for number, text in enumerate(corpus(rows, kind)):
            start = number * 7 % (len(words) - answer_words) if words else 0
            answer = " ".join(words[start : start + answer_words]) + "."
            file.write(json.dumps({"instruction": text.capitalize() + ".", "input": "", "output": answer}) + "\n")
    return path


def main() -> None:
    """Run the benchmarks named, or all."""
    names = {function.__name__: function for function in (exact, clean, rouge, minhash, semantic, decontaminate)}
    if sys.argv[1:2] in (["_ours"], ["_rensa"]):
        (_ours if sys.argv[1] == "_ours" else _rensa)(sys.argv[2])
        return
    for name in sys.argv[1:] or names:
        names[name]()


if __name__ == "__main__":
    main()
