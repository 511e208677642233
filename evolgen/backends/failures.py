"""What an endpoint's error status means: one TeacherError for each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from evolgen.backends.retry_after import retry_after
from evolgen.errors import Denied, Refused, TeacherError, Unanswered

if TYPE_CHECKING:
    import openai

TOO_LONG = ("context_length", "context length", "context size", "context window", "is too large to process")
"""How endpoints say that a question is too long."""


def status_error(error: openai.APIStatusError) -> TeacherError:
    """The error that a status and the endpoint's own words stand for."""
    status, said = error.status_code, _said(error)
    code = f"{error.code or ''} {error.type or ''}"
    rule = _refusal_rule(code, str(error))
    if status in (401, 403) and rule != "content_filter":
        return Denied("denied", f"the endpoint refused the key (HTTP {status}{said}); check --api-key-env and --model")
    if status in (404, 405, 501):
        return Denied("denied", f"the endpoint doesn't know the model or the path (HTTP {status}{said}); "
                      "check --model and --base-url")  # fmt: skip
    if status == 402 or (status == 429 and "insufficient_quota" in code):
        denied = Denied("quota", f"the account's quota is exhausted (HTTP {status}{said})")
        denied.exit_code = 3
        return denied
    wait = retry_after(error.response.headers, now=time.time())
    if status == 429:
        return Unanswered("rate_limited", f"too many requests (HTTP 429{said})", wait)
    # llama.cpp answers 500 to a text that is too long to embed
    if status in (408, 409, 425) or (status >= 500 and rule != "context_length"):
        return Unanswered(f"http_{status}", f"the endpoint failed (HTTP {status}{said})", wait)
    return Refused(rule, f"the endpoint refused the question (HTTP {status}{said})")


def _refusal_rule(code: str, message: str) -> str:
    text = f"{code} {message}".lower()
    if any(
        word in text for word in ("content_filter", "content_policy", "content management", "moderation", "flagged")
    ):
        return "content_filter"
    if any(word in text for word in TOO_LONG):
        return "context_length"
    return "bad_request"


def _said(error: openai.APIStatusError) -> str:
    """The endpoint's own words, short, or nothing."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f": {str(message).strip()[:200]}" if message else ""
