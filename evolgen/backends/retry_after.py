"""When an endpoint wants to be asked again: what its headers say."""

from __future__ import annotations

import contextlib
import email.utils
import re
from collections.abc import Mapping

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds until the endpoint wants to be asked again, or None where it doesn't say.

    Read are Retry-After (seconds, or a date, which is taken by the endpoint's own clock where it sends one; a proxy may
    hand it on as llm_provider-retry-after), and x-ratelimit-reset-requests and -tokens of the limits of which nothing
    remains. `now` is seconds since 1970.

    >>> retry_after({"retry-after": "2"}, now=0.0), retry_after({"retry-after-ms": "150"}, now=0.0)
    (2.0, 0.15)
    >>> retry_after({"llm_provider-retry-after": "60"}, now=0.0)
    60.0
    >>> skewed = {"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    >>> retry_after(skewed, now=0.0)
    10.0
    >>> retry_after({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0.5s"}, now=0.0)
    60.5
    """
    with contextlib.suppress(ValueError):
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    value = headers.get("retry-after", headers.get("llm_provider-retry-after", "")).strip()
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    if (date := _date(value)) is not None:
        own = _date(headers.get("date", ""))
        return max(0.0, date - (now if own is None else own))
    waits = [
        wait
        for limit in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{limit}", "").strip() == "0"
        and (wait := _duration(headers.get(f"x-ratelimit-reset-{limit}", ""))) is not None
    ]
    return max(waits, default=None)


def _date(value: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError):
        return None


def _duration(value: str) -> float | None:
    """Seconds of "1m30s", "120ms" or a bare number."""
    with contextlib.suppress(ValueError):
        return float(value)
    parts = _PART.findall(value)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None
