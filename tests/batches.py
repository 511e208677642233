"""A loopback teacher that also speaks OpenAI's files and batches, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.teacher import Teacher, sensible

Line = dict[str, Any]


def answered(body: Line) -> Line:
    """The line of an output file for a question that was answered."""
    choice = {"index": 0, "message": {"role": "assistant", "content": sensible(body)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    response = {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}
    return {"response": {"status_code": 200, "request_id": "r", "body": response}, "error": None}


def failed(status: int, message: str = "no", **more: Any) -> Line:
    """The line of an error file for a question that was refused or not answered."""
    body = {"error": {"message": message} | more}
    return {"response": {"status_code": status, "request_id": "r", "body": body}, "error": None}


def expired() -> Line:
    return {"response": None, "error": {"code": "batch_expired", "message": "not within the time"}}


class BatchTeacher(Teacher):
    """`line(body, times)` says what becomes of a question that was sent so many times (None: its file has no word on
    it), `trouble(method, path, number)` what happens to a call about batches: "before" and "after" drop the connection
    before and after the work is done, a number is an error status, bytes are what it is answered. `words` are the
    endpoint's own for those of OpenAI by which a batch stands. `refuse(questions, open)` may give the (code,
    message) with which a batch fails as a whole; `open` are the questions in other batches that are not over. The first
    calls for a batch's state are answered with `rubbish`, and `extra` lines stand in each output file.
    """

    def __init__(self, *, delay: float = 0.05) -> None:
        super().__init__()
        self.delay = delay
        self.line: Callable[[Line, int], Line | None] = lambda body, times: answered(body)
        self.words: dict[str, str] = {}
        self.trouble: Callable[[str, str, int], str | int | bytes | None] = lambda method, path, number: None
        self.refuse: Callable[[int, int], tuple[str, str] | None] = lambda questions, open: None
        self.rubbish: list[bytes] = []
        self.extra: list[bytes] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Line] = {}
        self.sent: Counter[str] = Counter()
        self.sizes: list[int] = []
        self._numbers = 0
        self._work: set[asyncio.Task[None]] = set()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._troubled(self._upload))
        app.router.add_get("/v1/files/{id}/content", self._troubled(self._content))
        app.router.add_post("/v1/batches", self._troubled(self._create))
        app.router.add_get("/v1/batches", self._troubled(self._list))
        app.router.add_get("/v1/batches/{id}", self._troubled(self._get))
        app.router.add_post("/v1/batches/{id}/cancel", self._troubled(self._cancel))
        super().add_routes(app)

    def _troubled(self, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            self._numbers += 1
            trouble = self.trouble(request.method, request.path, self._numbers)
            if isinstance(trouble, int):
                return web.json_response({"error": {"message": "trouble"}}, status=trouble)
            if isinstance(trouble, bytes):
                return web.Response(body=trouble, content_type="application/json")
            response: web.StreamResponse = web.Response() if trouble == "before" else await handler(request)
            if trouble in ("before", "after") and request.transport is not None:
                request.transport.close()
            return response

        return handle

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        id = f"file-{len(self.files)}"
        upload: Any = form["file"]
        self.files[id] = upload.file.read()
        return web.json_response({"id": id, "object": "file", "bytes": len(self.files[id]), "purpose": "batch"})

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert all(line["url"] == asked["endpoint"] for line in lines)
        assert len({line["custom_id"] for line in lines}) == len(lines)
        batch: Line = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "status": "validating",
            "metadata": asked["metadata"],
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        open = sum(each["request_counts"]["total"] for each in self.batches.values() if each["status"] == "in_progress")
        self.batches[batch["id"]] = batch
        if problem := self.refuse(len(lines), open):
            batch |= {"status": "failed", "errors": {"data": [{"code": problem[0], "message": problem[1]}]}}
            return web.json_response(batch | {"status": "validating"})
        self.sizes.append(len(lines))
        self.sent.update(line["custom_id"] for line in lines)
        batch["status"] = "in_progress"
        task = asyncio.create_task(self._answer(batch, lines))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return web.json_response(batch | {"status": "validating"})

    async def _answer(self, batch: Line, lines: list[Line]) -> None:
        await asyncio.sleep(self.delay)
        output: list[Line] = []
        errors: list[Line] = []
        random.Random(1).shuffle(lines)
        for line in lines if batch["status"] == "in_progress" else lines[: len(lines) // 2]:
            outcome = self.line(line["body"], self.sent[line["custom_id"]])
            if outcome is not None:
                response = outcome["response"]
                fine = not outcome["error"] and not (isinstance(response, dict) and response["status_code"] != 200)
                (output if fine else errors).append({"custom_id": line["custom_id"]} | outcome)
        for name, rows in (("output_file_id", output), ("error_file_id", errors)):
            if rows:
                batch[name] = f"file-{len(self.files)}"
                lines_of = [*self.extra, *(json.dumps(row).encode() for row in rows)]
                self.files[batch[name]] = b"".join(line + b"\n" for line in lines_of)
        batch["request_counts"] |= {"completed": len(output), "failed": len(errors)}
        ending = any(row["error"] == expired()["error"] for row in errors)
        batch["status"] = {"cancelling": "cancelled"}.get(batch["status"], "expired" if ending else "completed")

    async def _get(self, request: web.Request) -> web.Response:
        if self.rubbish:
            return web.Response(body=self.rubbish.pop(0), content_type="application/json")
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return web.json_response({"error": {"message": "no such batch"}}, status=404)
        return web.json_response(batch | {"status": self.words.get(batch["status"], batch["status"])})

    async def _list(self, request: web.Request) -> web.Response:
        ids = list(self.batches)[::-1]  # the newest first, two a page: most lists have several
        after = request.query.get("after")
        start = 0 if after is None else ids.index(after) + 1
        page = [self.batches[id] for id in ids[start : start + 2]]
        return web.json_response({"object": "list", "data": page, "has_more": start + 2 < len(ids)})

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        if batch["status"] != "in_progress":
            return web.json_response({"error": {"message": "it is over"}}, status=409)
        batch["status"] = "cancelling"
        return web.json_response(batch)
