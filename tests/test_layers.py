"""Imports point downward only, heavy modules are imported where they are used, and functions stay small."""

from __future__ import annotations

import ast
import graphlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "evolgen"

LAYERS = [
    {"errors"},
    {"records", "spool", "runner", "usage", "pauses", "answers"},
    {"config", "events"},
    {"parsing", "prompts", "store", "prices"},
    {"asking", "curate", "formats"},
    {"pipelines", "backends", "engine"},
    {"report"},
    {"commands"},
    {"cli"},
]
"""From the bottom up; a module may import from its own part and from lower layers."""

INSIDE_A_LAYER = {("backends", "engine"): False, ("engine", "backends"): True}
"""The engine knows the backends' protocol; pipelines know neither."""

HEAVY = {"openai", "aiohttp", "httpx", "httpx2", "xllamacpp", "numpy", "huggingface_hub", "asyncio", "rich"}


def part(module: str) -> str:
    return module.removeprefix("evolgen.").split(".")[0]


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for module in imports_of(path):
        if not module.startswith("evolgen."):
            continue
        other = part(module)
        if other == own:
            continue
        below = level[other] < level[own]
        assert below or INSIDE_A_LAYER.get((own, other), False), f"{own} imports {other}"
        if own == "runner":
            assert other == "errors"


def test_no_module_imports_itself_by_way_of_others() -> None:
    def name(path: Path) -> str:
        parts = path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    modules = {name(path): imports_of(path) for path in PACKAGE.rglob("*.py")}
    graph = {module: imports & modules.keys() - {module} for module, imports in modules.items() if module != "evolgen"}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(graph)


def test_pipelines_know_neither_engine_nor_backends() -> None:
    for path in (PACKAGE / "pipelines").glob("*.py"):
        assert not {part(m) for m in imports_of(path) if m.startswith("evolgen")} & {
            "engine",
            "backends",
            "store",
            "answers",
        }


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, evolgen.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_files_and_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        assert source.count("\n") <= 350, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


def test_every_error_is_drawn_in_the_tree() -> None:
    from evolgen import errors

    drawn = errors.__doc__ or ""
    classes = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert [name for name in classes if name not in drawn] == []
