"""Keys never reach a file, a line of output or an error, whichever way they were given."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.program import evolgen
from tests.teacher import Body, Drop, Teacher, completion, refusal, sensible

KEY, USER, QUERY = "sk-canary-1234567890abcdef", "canary-user-9876", "canary-query-5555"


async def fine(body: Body) -> web.StreamResponse:
    return completion(sensible(body))


async def echoing(body: Body) -> web.StreamResponse:
    """An endpoint that tells the key back, as some do."""
    return refusal(401, f"Incorrect API key provided: {KEY}. You can find your key in your account ({USER}, {QUERY}).")


async def limited(body: Body) -> web.StreamResponse:
    return refusal(429, f"too many requests for the key {KEY}", {"Retry-After": "999999"})


async def refusing(body: Body) -> web.StreamResponse:
    return refusal(400, f"bad request by {KEY} of {USER} with {QUERY}")


async def dropping(body: Body) -> web.StreamResponse:
    raise Drop


@pytest.mark.parametrize("reply", [fine, echoing, limited, refusing, dropping], ids=lambda reply: reply.__name__)
@pytest.mark.parametrize("debug", [False, True])
def test_no_key_is_written_anywhere(
    teacher: Teacher, reply: Callable[[Body], Awaitable[web.StreamResponse]], debug: bool
) -> None:
    teacher.reply = reply
    Path("prompts.txt").write_text("Name a river.\nName a lake.\n")
    url = f"http://{USER}:{KEY}@127.0.0.1:{teacher.port}/v1?api_key={QUERY}"
    Path("recipe.toml").write_text(
        f'[respond]\ninputs = "prompts.txt"\nout = "out.jsonl"\nmodel = "m"\nbase_url = "{url}"\n'
    )
    os.chmod("recipe.toml", 0o600)  # noqa: PTH101
    command = ["respond", "prompts.txt", "-o", "out.jsonl", "--model", "m",
               "--base-url", url, "--attempts", "2", "--give-up", "1s", *(["--debug"] if debug else [])]  # fmt: skip
    done = evolgen(*command, environment={"OPENAI_API_KEY": KEY})
    said = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    written = {
        str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != "recipe.toml"
    }
    assert done.returncode in (0, 2, 3)
    for place, content in (said | written).items():
        for secret in (KEY, USER, QUERY):
            assert secret.encode() not in content, f"{secret} in {place}"
    assert teacher.calls
    assert {header["Authorization"].split()[0] for header in teacher.headers} == {"Basic"}
    match reply.__name__:
        case "fine":
            assert (done.returncode, len(written)) == (0, 5)
        case "echoing" | "limited":
            assert "the key ***" in done.stderr or "provided: ***" in done.stderr
        case "refusing":
            assert "nothing but refusals: " in done.stderr
            assert "bad request by *** of *** with ***" in done.stderr
