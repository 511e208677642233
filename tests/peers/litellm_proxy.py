"""LiteLLM's proxy, for real, in front of teachers on loopback: what it says, and what evolgen makes of it.

    python -m tests.peers.litellm_proxy

It is fetched from PyPI into `.peers/` the first time. Ends with 1 where evolgen falls short.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from aiohttp import web
from rich.console import Console
from rich.table import Table

from tests.conftest import ROOT
from tests.teacher import Body, Teacher, behave, completion, refusal

HOME = ROOT / ".peers" / "litellm"
PATIENCE = 180
KEY = "sk-right"
PROMPTS = 4

REFUSED = 12
"""Calls that the limited teacher refuses; the proxy makes each three times before it says so."""


@dataclass(frozen=True)
class Case:
    """What is asked of the proxy, and what is to come of it: an exit code, rows, and words on stderr.

    Of the plain `questions` before it the last one's answer is shown.
    """

    name: str
    model: str
    exit: int
    rows: int
    words: str = ""
    key: str = KEY
    questions: int = 1


CASES = (
    Case("a model that works", "works", exit=0, rows=PROMPTS),
    Case("an unknown model", "nobody", exit=2, rows=0, words="Invalid model name passed in model=nobody"),
    Case("a wrong key", "works", exit=2, rows=0, words="No connected db.", key="sk-wrong"),
    Case("a model whose name its provider doesn't know", "renamed", exit=2, rows=0, words="no such model"),
    Case("a provider's rate limit", "limited", exit=0, rows=PROMPTS),
    Case("the proxy's own rate limit", "capped", exit=0, rows=PROMPTS, questions=PROMPTS),
)


@dataclass(frozen=True)
class Outcome:
    """What the proxy said to a plain question, and what evolgen did with four."""

    case: Case
    status: int
    headers: dict[str, str]
    body: str
    exit: int
    rows: int
    stderr: str
    seconds: float

    @property
    def shortcomings(self) -> list[str]:
        case, found = self.case, []
        if self.exit != case.exit:
            found.append(f"exit {self.exit}, not {case.exit}")
        if self.rows != case.rows:
            found.append(f"{self.rows} rows, not {case.rows}")
        if case.words not in self.stderr:
            found.append(f"it doesn't say {case.words!r}")
        return found


def install() -> Path:
    """The proxy's folder of programs, in a virtual environment of its own."""
    programs = HOME / "bin"
    if not (programs / "litellm").exists():
        venv.create(HOME, with_pip=True, clear=True)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "litellm[proxy]")
        subprocess.run([str(programs / "python"), *pip], check=True)
    return programs


@contextlib.contextmanager
def proxy(models: dict[str, dict[str, Any]], folder: Path) -> Iterator[str]:
    """Serve models, by name; gives the base URL."""
    settings = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": "openai/m", "api_key": "none"} | parameters}
            for name, parameters in models.items()
        ],
        "general_settings": {"master_key": KEY},
        "router_settings": {"optional_pre_call_checks": ["enforce_model_rate_limits"]},
    }
    (folder / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    where = ("--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port))
    with (folder / "log").open("wb") as log:
        quiet = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # it would fetch a table of prices
        process = subprocess.Popen([str(install() / "litellm"), *where], stdout=log, stderr=log, env=quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; raises RuntimeError where it never does."""
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise RuntimeError(f"the proxy doesn't answer:\n{log.read_text()[-2000:]}")


def ask(url: str, case: Case) -> tuple[int, dict[str, str], str]:
    """The status, the headers that speak of waiting, and the body that the proxy gives to a question."""
    body = {"model": case.model, "messages": [{"role": "user", "content": "Name a river."}]}
    request = urllib.request.Request(
        f"{url}/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {case.key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            status, headers, text = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        status, headers, text = error.code, error.headers, error.read()
    waiting = {name: value for name, value in headers.items() if "retry" in name.lower() or "ratelimit" in name.lower()}
    return status, waiting, text.decode()


def carry_out(case: Case, url: str, folder: Path) -> Outcome:
    """Ask the proxy, then have evolgen ask it."""
    *_, (status, headers, body) = [ask(url, case) for _ in range(case.questions)]
    prompts, out = folder / "prompts.jsonl", folder / "out.jsonl"
    prompts.write_text("".join(json.dumps({"instruction": f"Name thing {n}."}) + "\n" for n in range(PROMPTS)))
    out.unlink(missing_ok=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "evolgen", "respond", str(prompts), "-o", str(out), "--json", "--model", case.model,
         "--base-url", url, "--store", str(folder / f"{case.name}.sqlite"), "--force"],
        capture_output=True, text=True, env=os.environ | {"OPENAI_API_KEY": case.key}, cwd=ROOT,
    )  # fmt: skip
    rows = out.read_bytes().count(b"\n") if out.exists() else 0
    return Outcome(case, status, headers, body, done.returncode, rows, done.stderr, time.monotonic() - began)


def carry_out_all() -> list[Outcome]:
    """Every case, before one proxy."""
    refused = 0

    async def limited(body: Body) -> web.StreamResponse:
        nonlocal refused
        refused += 1
        return refusal(429, "slow down, please", {"Retry-After": "1"}) if refused <= REFUSED else await behave(body)

    async def strict(body: Body) -> web.StreamResponse:
        return refusal(404, f"no such model: {body['model']}") if body["model"] != "m" else completion("Yes.")

    with tempfile.TemporaryDirectory() as name, Teacher(strict) as teacher, Teacher(limited) as slow:
        models: dict[str, dict[str, Any]] = {
            "works": {"api_base": teacher.url},
            "renamed": {"api_base": teacher.url, "model": "openai/other"},
            "limited": {"api_base": slow.url},
            "capped": {"api_base": teacher.url, "rpm": PROMPTS - 1},
        }
        with proxy(models, Path(name)) as url:
            return [carry_out(case, url, Path(name)) for case in CASES]


def show(outcomes: list[Outcome]) -> None:
    """The table, and what was said word for word."""
    console = Console(width=120, highlight=False, markup=False)
    (installed,) = metadata.distributions(name="litellm", path=[str(each) for each in HOME.glob("lib/*/site-packages")])
    table = Table(title=f"LiteLLM {installed.version}", title_justify="left")
    for column in ("case", "HTTP", "exit", "rows", "seconds", "falls short"):
        table.add_column(column)
    for told in outcomes:
        numbers = (str(told.status), str(told.exit), str(told.rows), f"{told.seconds:.0f}")
        table.add_row(told.case.name, *numbers, "; ".join(told.shortcomings))
    for told in outcomes:
        waiting = "".join(f"\n  {name}: {value}" for name, value in told.headers.items())
        console.print(f"{told.case.name}\n  HTTP {told.status}{waiting}\n  {told.body}", soft_wrap=True)
        console.print("".join(f"  > {line}\n" for line in told.stderr.splitlines()), soft_wrap=True)
    console.print(table)


def main() -> None:
    outcomes = carry_out_all()
    show(outcomes)
    sys.exit(any(told.shortcomings for told in outcomes))


if __name__ == "__main__":
    main()
