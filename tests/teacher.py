"""A teacher on loopback that speaks OpenAI's API over real HTTP, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from evolgen.config.address import Address

Body = dict[str, Any]
Reply = Callable[[Body], Awaitable[web.StreamResponse]]


def question(body: Body) -> str:
    """What the last message (or the prompt) says; of an evolving prompt only the instruction."""
    text = str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])
    return text.split("\n", 1)[1].strip() if kind(body) == "evolve" else text


KINDS = {
    "compare two instructions": "judge",
    "make instructions for AI assistants": "evolve",
    "write tasks for AI assistants": "invent",
    "write tasks for an AI assistant": "invent_whole",
    "whether it is a classification": "classify",
    "examples for a task": "input_first",
    "examples for a classification": "output_first",
}


def kind(body: Body) -> str:
    """What a request wants, told by the shipped prompts."""
    system = body["messages"][0]["content"] if "messages" in body else ""
    return next((kind for words, kind in KINDS.items() if words in system), "answer")


def digest(body: Body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def sentence(seed: str) -> str:
    """A made-up task of ten words that depends on nothing but the seed; two of them are rarely near."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    words = []
    for _ in range(8):
        number, first = divmod(number, len(SYLLABLES))
        number, second = divmod(number, len(SYLLABLES))
        words.append(SYLLABLES[first] + SYLLABLES[second])
    return f"Explain {' '.join(words)} {number % 10**6}."


def sensible(body: Body) -> str:
    """An answer that passes all rules and depends on nothing but the request."""
    mark = digest(body)
    match kind(body):
        case "judge":
            return "Not Equal"
        case "evolve":
            return f"{question(body)[-60:]} Also consider case {mark[:8]}."
        case "classify":
            return "Yes" if mark < "4" else "No"
        case "answer":
            return f"The result is {mark[:12]}, for these reasons."
    return json.dumps(_entries(kind(body), mark))


def _entries(kind: str, mark: str) -> dict[str, Any]:
    """The lists of Self-Instruct and Alpaca."""
    match kind:
        case "invent":
            return {"tasks": [sentence(f"{mark} {number}") for number in range(7)]}
        case "invent_whole":
            tasks = (sentence(f"{mark} {number}") for number in range(17))
            return {
                "tasks": [{"instruction": task, "input": "", "output": f"Because of {mark[:8]}."} for task in tasks]
            }
        case "output_first":
            return {"instances": [{"label": label, "input": sentence(mark + label)} for label in ("hot", "cold")]}
    return {"instances": [{"input": "", "output": f"It is {mark[:8]}, as one can see."}]}


def completion(text: str | None, finish_reason: str = "stop", **message: Any) -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text} | message, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


def vector_of(text: str) -> list[float]:
    """An embedding of eight numbers that depends on nothing but the text; a full stop makes no difference."""
    return [byte / 256 - 0.5 for byte in hashlib.sha256(text.rstrip(".").encode()).digest()[:8]]


def embeddings(body: Body) -> web.Response:
    """Vectors for the texts of a request, the last one first: `index` says which is whose."""
    entries: list[dict[str, Any]] = []
    for index, text in enumerate(body["input"]):
        vector: Any = vector_of(text)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        entries.insert(0, {"object": "embedding", "index": index, "embedding": vector})
    usage = dict.fromkeys(("prompt_tokens", "total_tokens"), len(entries))
    return web.json_response({"object": "list", "model": body["model"], "data": entries, "usage": usage})


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


async def behave(body: Body) -> web.StreamResponse:
    """Reply sensibly and at once."""
    return embeddings(body) if "input" in body else completion(sensible(body))


class Drop(Exception):
    """Raised by a reply to drop the connection instead of answering."""


class Cut(Exception):
    """Raised by a reply to drop the connection in the middle of an answer."""


class Teacher:
    """Serves `reply` in a thread of its own; a context manager.

    `calls` holds the body of every request in the order of arrival, `headers` its headers and path.
    """

    def __init__(self, reply: Reply = behave) -> None:
        self.reply = reply
        self.calls: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def address(self) -> Address:
        return Address(self.url)

    @property
    def asked(self) -> list[str]:
        """The digests of all requests in the order of arrival."""
        return [digest(body) for body in self.calls]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    async def _stop(self) -> None:
        await self._runner.cleanup()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**26)
        self.add_routes(app)
        self._runner = runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()

    def add_routes(self, app: web.Application) -> None:
        """What it answers to."""
        app.router.add_post("/v1/{path:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append(body)
        self.headers.append(dict(request.headers) | {"path": request.path})
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            return await self.reply(body)
        except Cut:
            begun = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "5000"})
            await begun.prepare(request)
            await begun.write(b'{"choices": [{"message": {"content": "half of an')
            if request.transport is not None:
                request.transport.close()
            return begun
        except Drop:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        finally:
            self._in_flight -= 1
