"""A recipe of several commands: one after the other, each on what the one before it gave, as one run."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evolgen.commands.command import Command, Means, Work
from evolgen.commands.common import Watch, published, refuse_reading_what_is_written
from evolgen.commands.recipes import Recipe
from evolgen.config import Endpoint, configured
from evolgen.engine.output import Output, OutputFiles
from evolgen.errors import UsageError
from evolgen.events import Notice
from evolgen.formats.rows import check_readable
from evolgen.report.summary import Summary, Tokens


@dataclass(frozen=True)
class Stage:
    """One command of a chain, with all its settings."""

    number: int
    command: Command[Any]
    config: Any

    @property
    def name(self) -> str:
        return f"{self.number}-{self.command.name}"

    @property
    def files(self) -> OutputFiles:
        return OutputFiles(self.config.out)


def prepare_chain(recipe: Recipe, means: Means) -> Work:
    """The work of a chain; raises UsageError for what is wrong in any of its stages, before the first begins."""
    stages = plan_stages(recipe, means.commands)
    if any(getattr(stage.config, "estimate", False) for stage in stages):
        raise UsageError(
            f"{recipe.path}: estimate: a chain can't be estimated, for each stage needs what the one before gave"
        )
    sources = list(_sources(stages))
    out = _out(recipe)
    refuse_reading_what_is_written(sources, out)
    made = {stage.files.accepted for stage in stages}
    check_readable(source for source in sources if isinstance(source, dict) or Path(source) not in made)
    output = Output(out, command=means.name, force=bool(recipe.shared.get("force")))
    return lambda: _run_chain(recipe, stages, output, means)


def _run_chain(recipe: Recipe, stages: Sequence[Stage], output: Output, means: Means) -> Summary:
    watch = Watch(means)
    done: list[Summary] = []
    with contextlib.closing(output):
        for stage in stages:
            what = f"stage {stage.number} of {len(stages)}, {stage.command.name}"
            watch(Notice(what))
            for path in (stage.files.accepted, stage.files.rejected, stage.files.manifest):
                path.unlink(missing_ok=True)  # of an earlier run: what this one gives is what counts
            config = _with_budget(stage.config, recipe, done)
            work = stage.command.prepare(
                config, replace(means, name=stage.command.name, stage=stage.name, paid_for=output.at.accepted)
            )
            done.append(work())
            if not done[-1].complete:
                return _summary(output.files, done, watch.seconds, stopped=f"{what}: {done[-1].stopped}")
            if not done[-1].accepted and stage is not stages[-1]:
                rules = ", ".join(f"{rule} {count}" for rule, count in done[-1].by_rule.items())
                nothing = f"{what}: it accepted no row ({rules}), so the next stage has nothing to work on"
                return _summary(output.files, done, watch.seconds, stopped=nothing)
        for stage in stages:
            for line in _lines(stage.files.rejected):
                output.write_line(line, accepted=False)
        for line in _lines(stages[-1].files.accepted):
            output.write_line(line, accepted=True)
        told = [json.loads(stage.files.manifest.read_text("utf-8")) for stage in stages]
        return published(
            output,
            _summary(output.files, done, watch.seconds),
            lambda summary: summary.model_dump(mode="json") | {"stages": told},
        )


def _out(recipe: Recipe) -> Path:
    out = recipe.shared.get("out")
    if out == "-":
        raise UsageError(f"{recipe.path}: out: several commands keep their rows beside it; name a file")
    if not isinstance(out, str) or not out:
        raise UsageError(f"{recipe.path}: a recipe of several commands says at its top where its rows go: out = ...")
    return Path(out)


def plan_stages(recipe: Recipe, commands: Mapping[str, Command[Any]]) -> list[Stage]:
    """The commands of a chain, each reading what the one before it writes unless it says otherwise.

    Raises UsageError for settings that are wrong, of whichever stage.
    """
    folder = OutputFiles(_out(recipe)).stages
    known = {name for command in recipe.tables for name in commands[command].config.model_fields}
    for name in recipe.shared:
        if name not in known:
            raise UsageError(f"{recipe.path}: {name}: none of its commands has such a setting")
    stages: list[Stage] = []
    for number, (name, settings) in enumerate(recipe.tables.items(), start=1):
        command = commands[name]
        if "out" in settings:
            raise UsageError(f"{recipe.path}: [{name}] out: in a chain it stands at the top, and belongs to its end")
        unused = command.config.unused(settings)
        shared = {
            key: value
            for key, value in recipe.shared.items()
            if key in command.config.model_fields and key not in unused
        }
        before = {command.reads: stages[-1].files.accepted} if stages else {}
        if stages and command.reads not in settings:  # it reads what evolgen wrote
            shared = {key: value for key, value in shared.items() if key not in ("encoding", "map")}
        written = {"out": folder / f"{number}-{name}.jsonl", "force": True}
        try:
            config = configured(command.config, before | shared | settings | written)
            command.check(config)
        except UsageError as error:
            raise UsageError(f"{recipe.path}: [{name}] {error}") from error
        stages.append(Stage(number, command, config))
    return stages


def _sources(stages: Sequence[Stage]) -> Iterator[Any]:
    for stage in stages:
        yield from getattr(stage.config, stage.command.reads)
        yield from getattr(stage.config, "against", ())


def _with_budget(config: Any, recipe: Recipe, done: Sequence[Summary]) -> Any:
    """The settings of a stage, with the requests that earlier ones left; of tokens and dollars the store knows."""
    budget = recipe.shared.get("max_requests")
    if budget is None or not isinstance(config, Endpoint) or config.max_requests != budget:
        return config
    return config.model_copy(update={"max_requests": max(0, budget - sum(summary.requests for summary in done))})


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _summary(files: OutputFiles, done: Sequence[Summary], seconds: float, stopped: str | None = None) -> Summary:
    """The numbers of a whole chain; each row that a stage rejected, and what its end accepted, is a candidate."""
    rejected = sum(stage.rejected for stage in done)
    accepted = done[-1].accepted
    oldest = [stage.oldest_replayed for stage in done if stage.oldest_replayed is not None]
    return done[-1].model_copy(
        update={
            "command": "run",
            "pipeline": "chain",
            "out": files.accepted,
            "rejected_out": files.rejected,
            "manifest": files.manifest,
            "published": stopped is None,
            "complete": stopped is None,
            "stopped": stopped,
            "candidates": accepted + rejected,
            "parsed": accepted + rejected - sum(stage.candidates - stage.parsed for stage in done),
            "accepted": accepted,
            "rejected": rejected,
            "by_stage": _added(stage.by_stage for stage in done),
            "by_rule": _added(stage.by_rule for stage in done),
            "failed_calls": _added(stage.failed_calls for stage in done),
            "tokens": Tokens(**_added(stage.tokens.model_dump() for stage in done)),
            **{
                name: sum(getattr(stage, name) for stage in done)
                for name in ("unanswered", "no_verdict", "masked", "requests", "replayed", "surplus")
            },
            "oldest_replayed": min(oldest, default=None),
            "store": next((stage.store for stage in done if stage.store is not None), None),
            **_costs(done, accepted),
            "seconds": round(seconds, 3),
            "rows_per_second": round((accepted + rejected) / max(seconds, 0.001), 1),
            "stages": tuple(done),
        }
    )


def _costs(done: Sequence[Summary], accepted: int) -> dict[str, Any]:
    asked = {f"{number}-{stage.pipeline}": stage.cost_usd for number, stage in enumerate(done, start=1) if stage.store}
    cost = _sum(asked.values())
    earlier = _sum(stage.replayed_usd for stage in done)
    return {
        "cost_usd": cost,
        "costs_usd": asked,
        "replayed_usd": earlier,
        "cost_per_row_usd": None if cost is None or earlier is None or not accepted else (cost + earlier) / accepted,
    }


def _sum(costs: Iterable[float | None]) -> float | None:
    """The sum of what is known; None where a part of it isn't."""
    known = list(costs)
    return None if None in known else sum(cost or 0.0 for cost in known)


def _added(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))
