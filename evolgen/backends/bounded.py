"""The HTTP client: bodies are read in pieces and up to a size, and questions go nowhere but where they were sent.

Imported where the first call goes out, for it imports the openai client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import openai

from evolgen.errors import Refused

LARGEST = 10_000_000
"""Bytes of a body at the most, once it is decompressed."""


class BoundedClient(openai.DefaultAioHttpClient):
    """Raises Refused for a body that is too large; a file that is streamed may be of any size.

    `hide` takes secrets out of an answer, so that one told back is neither shown nor stored nor in a row.
    """

    def __init__(self, hide: Callable[[bytes], bytes], **options: Any) -> None:
        super().__init__(**options)
        self._hide = hide

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        options["follow_redirects"] = request.method == "GET"
        response = await super().send(request, stream=True, **options)
        if stream:
            return response
        try:
            body = await _read(response)
        except BaseException:
            await response.aclose()
            raise
        response._content = self._hide(body) if response.is_success else body  # what `aread` sets, and without an end
        return response


async def _read(response: httpx2.Response) -> bytes:
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise Refused("too_large", f"the answer is larger than {LARGEST // 10**6} MB")
    return b"".join(pieces)
