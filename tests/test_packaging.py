"""What is installed: the wheel and the sdist carry the prompts, and the install stays small."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from evolgen.runner.templates import TEMPLATES
from tests.conftest import ROOT, rows

pytestmark = pytest.mark.slow

SCRIPT = r"""
{"match": "compare two instructions", "answer": "Not Equal"}
{"match": "instructions for AI assistants.*\\n(.+)$", "answer": "{1} Why?"}
{"answer": "For good reasons."}
"""
MOST_PACKAGES = 40
MOST_MB = 200


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    return folder


def test_wheel_and_sdist_carry_the_prompts_and_no_data(built: Path) -> None:
    prompts = {str(path.relative_to(ROOT / "prompts")) for path in (ROOT / "prompts").rglob("*.txt")}
    assert len(prompts) >= 7
    wheel = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    assert prompts == {name.removeprefix("evolgen/_prompts/") for name in wheel if "_prompts/" in name}
    assert not [name for name in wheel if name.startswith(("tests/", "docs/"))]
    assert "evolgen/py.typed" in wheel
    data = {f"evolgen/runner/chat_templates/{template.file or template.name}.jinja" for template in TEMPLATES.values()}
    assert data | {"evolgen/prices.toml", "evolgen/runner/catalogue.toml"} <= set(wheel)
    sdist = tarfile.open(next(built.glob("*.tar.gz"))).getnames()
    assert prompts == {name.split("/prompts/")[1] for name in sdist if "/prompts/" in name and name.endswith(".txt")}


def test_a_clean_install_is_small_and_evolves_from_another_folder(built: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    before = set(packages(python))
    wheel = next(built.glob("*.whl"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    installed = set(packages(python)) - before
    assert len(installed) <= MOST_PACKAGES, sorted(installed)
    (site_packages,) = environment.glob("lib/*/site-packages")
    size = sum(
        path.stat().st_size
        for package in site_packages.iterdir()
        if not package.name.startswith(("pip", "setuptools"))
        for path in (package.rglob("*") if package.is_dir() else [package])
        if path.is_file()
    )
    assert size <= MOST_MB * 1e6
    print(f"{len(installed)} packages, {size / 1e6:.0f} MB")
    work = tmp_path / "elsewhere"
    work.mkdir()
    (work / "script.jsonl").write_text(SCRIPT)
    (work / "seeds.txt").write_text("Name a river.\n")
    evolve = [str(environment / "bin" / "evolgen"), "evolve", "seeds.txt", "-o", "out.jsonl", "--model"]
    subprocess.run([*evolve, "scripted:script.jsonl"], cwd=work, check=True, capture_output=True)
    assert len(rows(work / "out.jsonl")) == 4
    done = subprocess.run([*evolve, "local:smollm2-135m"], cwd=work, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'evolgen[local]'" in done.stderr


def packages(python: Path) -> list[str]:
    command = [str(python), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return listed.split()
