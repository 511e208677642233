"""What an endpoint's error status means: one TeacherError for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evolgen.backends.retry_after import retry_after
from evolgen.backends.words import told_of
from evolgen.errors import Denied, Refused, TeacherError, Unanswered

if TYPE_CHECKING:
    import openai

SAID = 4_000
"""Characters of an endpoint's words that are looked at."""

TOO_LONG = ("context_length", "context length", "context size", "context window", "is too large to process")
"""How endpoints say that a question is too long."""


def status_error(error: openai.APIStatusError, hide: Callable[[str], str] = str) -> TeacherError:
    """The error that a status and the endpoint's own words stand for; `hide` takes the secrets out of them."""
    status, words = error.status_code, told_of(error.body, hide)
    words = f": {words}" if words else ""
    code = f"{error.code or ''} {error.type or ''}"
    told: dict[str, Any] = {"status": status, "said": hide(f"{error} {error.body}")[:SAID], "param": _param(error)}
    rule = _refusal_rule(code, told["said"])
    location = hide(error.response.headers.get("location", "nowhere"))[:200]
    if (problem := _denial(status, words, rule, location)) is not None:
        return Denied("denied", problem, **told)
    if status == 402 or (status == 429 and "insufficient_quota" in code):
        return Denied("quota", f"the account's quota is exhausted (HTTP {status}{words})", **told)
    wait = retry_after(error.response.headers, now=time.time())
    if status == 429:
        return Unanswered("rate_limited", f"too many requests (HTTP 429{words})", wait, **told)
    # llama.cpp answers 500 to a text that is too long to embed
    if status in (408, 409, 425) or (status >= 500 and rule != "context_length"):
        return Unanswered(f"http_{status}", f"the endpoint failed (HTTP {status}{words})", wait, **told)
    return Refused(rule, f"the endpoint refused the question (HTTP {status}{words})", **told)


def _denial(status: int, words: str, rule: str, location: str) -> str | None:
    """Why no question at all will be answered, where a status says that."""
    if 300 <= status < 400:
        problem = f"the endpoint sends questions elsewhere (HTTP {status}, to {location}), and evolgen doesn't follow"
        return f"{problem}; give the right address as --base-url"
    if status in (401, 403) and rule != "content_filter":
        return f"the endpoint refused the key (HTTP {status}{words}); check --api-key-env and --model"
    if status in (404, 405, 501):
        return f"the endpoint doesn't know the model or the path (HTTP {status}{words}); check --model and --base-url"
    return None


def _refusal_rule(code: str, message: str) -> str:
    text = f"{code} {message}".lower()
    if any(
        word in text for word in ("content_filter", "content_policy", "content management", "moderation", "flagged")
    ):
        return "content_filter"
    if any(word in text for word in TOO_LONG):
        return "context_length"
    return "bad_request"


def _param(error: openai.APIStatusError) -> str | None:
    """The parameter that the endpoint named."""
    param = error.body.get("param") if isinstance(error.body, dict) else None
    return param if isinstance(param, str) else None
