"""A long run on two faulty replicas, killed and taken up again, of which one replica dies.

    python -m tests.soak [SEEDS]

Each row must be accounted for, and nothing may be paid twice but what was in flight when the run was killed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.faults import FAULTS, Faulty
from tests.teacher import Body, Drop, Teacher

IN_FLIGHT = 24
KILLS = 3
SHARE = 0.3
PATIENCE = 3600


def soak(seeds: int, folder: Path) -> dict[str, Any]:
    """Run it; returns the summary of the last run and what the teachers counted. Raises AssertionError."""
    faulty = Faulty(SHARE)
    victim: list[subprocess.Popen[bytes]] = []
    calls = 0
    kill_at = [seeds * 4 * (number + 1) // (KILLS + 2) for number in range(KILLS)]

    async def reply(body: Body) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if kill_at and calls >= kill_at[0] and victim:
            kill_at.pop(0)
            victim.pop().kill()
        return await faulty(body)

    async def dying(body: Body) -> web.StreamResponse:
        if calls > seeds * 2:
            raise Drop
        return await reply(body)

    source = folder / "seeds.jsonl"
    source.write_text("".join(json.dumps({"instruction": f"Describe thing {n}."}) + "\n" for n in range(seeds)))
    with Teacher(reply) as healthy, Teacher(dying) as mortal:
        command = [sys.executable, "-m", "evolgen", "evolve", str(source), "-o", str(folder / "out.jsonl"), "--json",
                   "--rounds", "1", "--model", "m", "--base-url", healthy.url, "--base-url", mortal.url,
                   "--concurrency", str(IN_FLIGHT // 2), "--timeout", "2", "--attempts", "20",
                   "--store", str(folder / "store.sqlite")]  # fmt: skip
        ends: list[int] = []
        while not ends or ends[-1] == -9:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            victim[:] = [process]
            stdout, stderr = process.communicate(timeout=PATIENCE)
            ends.append(process.returncode)
    assert ends == [-9] * KILLS + [0], stderr.decode()
    summary: dict[str, Any] = json.loads(stdout)
    rows = [json.loads(line) for name in ("out", "out.rejected")
            for line in (folder / f"{name}.jsonl").read_text().splitlines()]  # fmt: skip
    assert summary["candidates"] == summary["accepted"] + summary["rejected"] == len(rows) == seeds
    assert Counter(row.get("rejection", {}).get("stage") for row in rows)["backend"] == 0
    twice = sum(count - 1 for count in faulty.paid.values() if count)
    assert twice <= KILLS * IN_FLIGHT, f"{twice} answers were paid twice"
    assert len(faulty.paid) == 3 * seeds
    assert set(faulty.met) == {"", *FAULTS}, "every fault was met"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"calls": calls, "faults": calls - faulty.met[""], "paid twice": twice, "peak MB": round(peak)} | summary


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = soak(seeds, Path(folder))
    print(f"soak: {seeds} seeds in {time.monotonic() - started:.0f} s, {KILLS} kills")
    print(f"  {told['calls']} calls, {told['faults']} of them with a fault; peak {told['peak MB']} MB")
    print(f"  {told['paid twice']} answers paid twice, with {IN_FLIGHT} in flight at each kill")
    print(f"  {told['accepted']} rows accepted, {told['rejected']} rejected")


if __name__ == "__main__":
    main()
