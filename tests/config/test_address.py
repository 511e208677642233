"""A base URL is read once; what is wrong with it is said at once, and no secret in it is shown."""

from __future__ import annotations

from typing import Any

import pytest

import evolgen
from evolgen.config.address import OPENAI, Address
from evolgen.config.environment import api_key, default_address
from evolgen.config.respond import RespondConfig
from evolgen.errors import UsageError
from tests import program


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://API.example.com/v1/", "https://api.example.com/v1/"),
        ("https://user:pass@api.example.com:8443/v1?key=abcdef", "https://api.example.com:8443/v1"),
        ("http://my_host.internal/v1", "http://my_host.internal/v1"),
        ("https://münchen.example/v1", "https://münchen.example/v1"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    address = Address.read(url)
    assert str(address) == shown
    assert not any(secret in repr(address) for secret in ("user", "pass", "abcdef"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:8000/v1", "127.0.0.1:8000/v1: it must begin with http:// or https://"),
        ("ftp://host/v1", "ftp://host/v1: it must begin with"),
        ("", ": it must begin with"),
        ("http://", "http://: it names no host"),
        ("http://me:canary@:80/v1?k=canary", ":80/v1: it names no host"),
        ("http://me:canary@host:port/v1", "host:port/v1: Port could not be cast"),
        ("http://me:canary@host:99999/v1?k=canary#canary", "host:99999/v1: Port out of range"),
        ("http://me:canary@[::1/v1", "[::1/v1: Invalid IPv6 URL"),
        ("http://me:canary@a b/v1", "'a b' is no name of a host"),
        ("canary@host/v1?canary", "host/v1: it must begin"),
        (5, "Input should be a valid tuple"),
        ([5], "a URL is a text, not int"),
    ],
)
def test_what_is_no_url_is_found_by_the_config(url: Any, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        evolgen.respond(inputs=[{"instruction": "Add."}], out="out.jsonl", model="m", base_url=url)
    assert str(caught.value).startswith("base_url: ")
    assert problem in str(caught.value)
    told = program.evolgen("respond", "-", "-o", "o.jsonl", "--model", "m", "--base-url", f"{url}", "--debug")
    assert told.returncode == 2
    assert "canary" not in told.stderr + str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize("command", [["chat", "m"], ["batches", "list"]])
def test_other_commands_read_it_alike(command: list[str]) -> None:
    done = program.evolgen(*command, "--base-url", "http://me:canary@host:99999/v1", stdin=b"Hi.\n")
    assert (done.returncode, done.stderr) == (2, "evolgen: --base-url host:99999/v1: Port out of range 0-65535\n")


def test_only_openai_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (OPENAI, Address.read("https://api.openai.com/v1/"), default_address()):
        with pytest.raises(UsageError, match="NO_KEY holds no API key"):
            api_key("NO_KEY", address)
    assert api_key("NO_KEY", Address.read("http://127.0.0.1:8000/v1")) is None
    monkeypatch.setenv("OPENAI_BASE_URL", "host/v1")
    with pytest.raises(UsageError, match="OPENAI_BASE_URL: host/v1: it must begin with"):
        default_address()


def test_a_config_shows_it_without_its_secrets() -> None:
    config = RespondConfig(inputs=["x"], out="o.jsonl", model="m", base_url="http://me:canary@host/v1?k=canary")  # type: ignore[arg-type]
    assert config.model_dump(mode="json")["base_url"] == ["http://host/v1"]
    assert "canary" not in f"{config!r} {config.model_dump_json()}"
