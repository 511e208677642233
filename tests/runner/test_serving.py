"""`evolgen serve` with the real model: the openai client, curl, and requests that make no sense."""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from evolgen.runner.models import EMBEDDED

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "river": {"type": "string"}},
    "required": ["city", "river"],
    "additionalProperties": False,
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evolgen", "serve", "--port", "0", *arguments]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The base URL of a server with two slots and a key, and that it ends well."""
    EMBEDDED.pull()
    process = subprocess.Popen(
        command("--parallel", "2", "--ctx", "1024", "--api-key-env", "OUR_KEY"),
        env=os.environ | {"OUR_KEY": "sesame"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = ""
    while "evolgen evolve" not in told:
        told += (line := process.stdout.readline())
        assert line, process.stderr
    assert "2 x 1,024 tokens of context" in told
    assert '-H "Authorization: Bearer $OUR_KEY"' in told
    found = re.search(r"http://127\.0\.0\.1:\d+/v1", told)
    assert found is not None
    yield found[0]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def status_of(url: str, body: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


@pytest.mark.slow
def test_the_openai_client_gets_all_there_is(served: str) -> None:
    client = openai.OpenAI(base_url=served, api_key="sesame", max_retries=0)
    assert [model.id for model in client.models.list()] == ["SmolLM2-135M-Instruct.Q4_1"]
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": "Name a city and its river."}]}
    whole = client.chat.completions.create(**ask, max_tokens=20, temperature=0).choices[0].message.content
    pieces = client.chat.completions.create(**ask, max_tokens=20, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices) == whole
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    obeyed = client.chat.completions.create(**ask, max_tokens=200, response_format=wanted).choices[0]
    if obeyed.finish_reason == "stop":
        assert json.loads(obeyed.message.content or "").keys() == {"city", "river"}
    assert client.completions.create(model="m", prompt="Once upon", max_tokens=4).choices[0].text
    texts = ["How do I bake bread?", "Name a river.", "word " * 600, "The stock market fell."]
    together = [each.embedding for each in client.embeddings.create(model="m", input=texts).data]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        alone = list(
            threads.map(lambda text: client.embeddings.create(model="m", input=[text]).data[0].embedding, texts)
        )
    for one, other in zip(together, alone, strict=True):
        assert sum(a * b for a, b in zip(one, other, strict=True)) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(openai.BadRequestError, match="context"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "word " * 3000}])


@pytest.mark.slow
def test_curl_as_it_says_on_the_screen(served: str) -> None:
    body = '{"messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 5}'
    run = ["curl", "-s", f"{served}/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run([*run, "-H", "Authorization: Bearer sesame"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["usage"]["completion_tokens"] == 5
    root = served.removesuffix("/v1")
    assert status_of(f"{root}/health") == 200
    assert status_of(f"{root}/metrics", None, Authorization="Bearer sesame") == 200
    assert status_of(f"{served}/chat/completions", body.encode()) == 401


@pytest.mark.slow
def test_it_answers_nonsense_and_lives(served: str) -> None:
    dice = random.Random(3)
    odd: list[Any] = [None, 5, -1, 1e308, "x", [], {}, [None], {"a": {"b": []}}, True, "\ud83d", "a" * 10_000]
    names = [
        "messages",
        "prompt",
        "input",
        "max_tokens",
        "temperature",
        "stop",
        "n",
        "response_format",
        "stream",
        "seed",
    ]
    statuses = set()
    for _ in range(120):
        body = {name: dice.choice(odd) for name in dice.sample(names, dice.randint(0, 5))}
        body.setdefault("max_tokens", 3)
        if body["max_tokens"] in (None, -1, True, 1e308):
            body["max_tokens"] = 2
        raw = json.dumps(body).encode()
        if dice.random() < 0.3:
            raw = raw[: dice.randint(0, len(raw))]
        path = dice.choice(["chat/completions", "completions", "embeddings", "models", "nowhere", "chat"])
        statuses.add(status_of(f"{served}/{path}", raw, Authorization="Bearer sesame"))
    assert statuses <= {200, 400, 404, 405, 413, 422, 500}
    assert 400 in statuses
    assert status_of(f"{served.removesuffix('/v1')}/health") == 200
    test_curl_as_it_says_on_the_screen(served)


def test_who_may_ask_is_decided_before_anything_is_loaded(tmp_path: Path) -> None:
    for arguments, problem in [
        (["--host", "0.0.0.0"], "others could ask this model; name the environment variable of a key"),
        (["--api-key-env", "NOT_SET"], "the environment variable NOT_SET holds no key"),
        (["gone.gguf"], "gone.gguf: there is no such file"),
        (["llama-3.1-8b"], "`evolgen models pull llama-3.1-8b` fetches it"),
    ]:
        done = subprocess.run(command(*arguments), capture_output=True, text=True)
        assert done.returncode == 2
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
