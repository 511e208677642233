"""Pulling from a hub on loopback that speaks the same protocol, and breaks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from evolgen.errors import ModelError
from evolgen.runner.cache import cache_folder
from evolgen.runner.hub import HubFile
from evolgen.runner.models import cached

pytest.importorskip("huggingface_hub")

CONTENT = b"GGUF" + bytes(range(256)) * 100_000
COMMIT = "0123456789" * 4


class Hub:
    """Serves one file, also in parts; `cuts` are how many bytes the next transfers give before they break off."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag = hashlib.sha256(CONTENT).hexdigest()
        self.cuts: list[int] = []
        self.starts: list[int] = []
        self.tokens: list[str | None] = []
        self.status = 200
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.url = ""

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        if self.status != 200:
            codes = {401: "GatedRepo", 404: "EntryNotFound"}
            return web.Response(status=self.status, headers={"X-Error-Code": codes.get(self.status, "Oops")})
        headers = {"ETag": f'"{self.etag}"', "X-Linked-Etag": f'"{self.etag}"', "X-Repo-Commit": COMMIT,
                   "X-Linked-Size": str(len(CONTENT)), "Accept-Ranges": "bytes"}  # fmt: skip
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        body = self.content[start:]
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(len(body))})
        self.starts.append(start)
        headers["Content-Length"] = str(len(body))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else len(body)
        await response.write(body[:cut])
        if cut < len(body) and request.transport is not None:
            await asyncio.sleep(0.05)
            request.transport.close()
        return response

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/owner/{path:.*}", self._serve)  # beside it the library asks for a list of its own
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._ready.set()

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def wait(self) -> None:
        assert self._ready.wait(30)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.run, daemon=True)
    thread.start()
    hub.wait()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield hub
    hub.stop()
    thread.join(30)


FILE = HubFile.read("hf:owner/repo:deep/model.gguf")


def pull(**environment: str) -> subprocess.CompletedProcess[str]:
    """As a person does it: the hub's library reads its settings when it is imported."""
    command = [sys.executable, "-m", "evolgen", "models", "pull", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert "Traceback" not in done.stderr
    return done


def test_a_model_comes_whole_and_only_once(hub: Hub) -> None:
    heard: list[tuple[int, int]] = []
    path = FILE.pull(lambda done, total: heard.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert path == cache_folder() / "hf" / "owner" / "repo" / "deep" / "model.gguf"
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert dict(cached()) == {str(FILE): path}
    calls = len(hub.tokens)
    assert FILE.pull() == path
    assert len(hub.tokens) == calls


def test_a_transfer_that_breaks_goes_on_where_it_was(hub: Hub) -> None:
    hub.cuts = [11_000_000] * 40
    first = pull()
    if first.returncode:  # the library tries a few times by itself
        assert first.returncode == 2
        assert "what came is kept, so run the same command again" in first.stderr
        assert not FILE.here
        assert dict(cached()) == {}
    hub.cuts = []
    assert pull().returncode == 0
    assert FILE.path.read_bytes() == CONTENT
    assert max(hub.starts) > 0, "it went on from what was there"


def test_what_is_not_what_the_hub_has_is_not_kept(hub: Hub) -> None:
    hub.content = CONTENT[:-1] + b"x"
    with pytest.raises(ModelError, match="its size or sha256 is another"):
        FILE.pull()
    assert not FILE.here
    hub.content = CONTENT
    assert FILE.pull().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "problem"),
    [(404, "the hub has no such file"), (401, "set HF_TOKEN"), (500, "it can't be fetched")],
)
def test_a_hub_that_says_no_is_one_sentence(hub: Hub, status: int, problem: str) -> None:
    hub.status = status
    done = pull()
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_token_offline_mode_and_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pull(HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert hub.tokens == []
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5}))
    with pytest.raises(ModelError, match="free some space"):
        FILE.pull()
    assert hub.starts == []
    assert pull(HF_TOKEN="hf_secret").returncode == 0
    assert "Bearer hf_secret" in hub.tokens
    assert pull(HF_HUB_OFFLINE="1").returncode == 0, "it is here"


@pytest.mark.parametrize(
    "name",
    [
        "hf:owner/repo:../evil.gguf", "hf:owner/repo:/etc/evil.gguf", "hf:../repo:evil.gguf", "hf:owner/..:evil.gguf",
        "hf:owner/repo:a/../../evil.gguf", "hf:owner/repo:a\\..\\evil.gguf", "hf:owner/repo:C:evil.gguf",
        "hf:owner/repo", "hf:owner:a.gguf", "hf:owner/repo:weights.safetensors", "hf:owner/repo:.hidden.gguf",
    ],
)  # fmt: skip
def test_nothing_can_be_written_elsewhere(name: str) -> None:
    with pytest.raises(ModelError, match=r"is named hf:|no plain path|no \.gguf file"):
        HubFile.read(name)


def test_a_link_in_the_cache_leads_nowhere(hub: Hub, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    staging = cache_folder() / ".hub" / "owner--repo"
    staging.mkdir(parents=True)
    (staging / "deep").symlink_to(elsewhere)
    with pytest.raises(ModelError, match=r"a link in .* leads outside of it; nothing was fetched"):
        FILE.pull()
    (staging / "deep").unlink()
    FILE.path.parent.parent.mkdir(parents=True)
    FILE.path.parent.symlink_to(elsewhere)
    with pytest.raises(ModelError, match=r"a link in .* leads outside of it; nothing was fetched"):
        FILE.pull()
    assert list(elsewhere.iterdir()) == []
    assert hub.starts == []
