"""Settings as people write them -> as they are meant: flags and recipes say the same thing in several ways."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from evolgen.config.address import Address

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def weights(value: Any) -> Any:
    """Read operators: "deepen,breadth=0.5", a list of names, or a table of weights.

    >>> weights("deepen,breadth=0.5")
    {'deepen': 1.0, 'breadth': 0.5}
    """
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    weights: dict[str, float] = {}
    for part in value:
        name, _, weight = str(part).partition("=")
        if name.strip() in weights:
            raise ValueError(f"{name.strip()} is named twice")
        try:
            weights[name.strip()] = float(weight) if weight else 1.0
        except ValueError as error:
            raise ValueError(f"{part!r}: a weight must be a number, as in deepen=2") from error
    return weights


def positive(weights: dict[str, float]) -> dict[str, float]:
    if not weights or any(not 0 < weight < float("inf") for weight in weights.values()):
        raise ValueError("name at least one operator, each with a weight above 0")
    return weights


def names(value: Any) -> Any:
    """Read names: "clean,privacy", or a list of such texts.

    >>> names(["clean,privacy", "alpaca"])
    ('clean', 'privacy', 'alpaca')
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    return tuple(name.strip() for text in value for name in str(text).split(",") if name.strip())


def rules(value: Any) -> Any:
    """Read rules: ["sorry", "min_output_words=5"], or a table of settings; true is a rule as it stands.

    >>> rules(["sorry", "min_output_words=5"])
    {'sorry': True, 'min_output_words': '5'}
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    pairs = [str(text).partition("=") for text in value]
    return {name.strip(): setting.strip() if equals else True for name, equals, setting in pairs}


def thresholds(value: Any) -> Any:
    """Read thresholds: 0.8 for all methods, or "rouge-l=0.7,semantic=0.95", or a table; "" is for all.

    >>> thresholds("0.8"), thresholds("rouge-l=0.7,semantic=0.95")
    ({'': 0.8}, {'rouge-l': 0.7, 'semantic': 0.95})
    """
    if isinstance(value, int | float):
        value = str(value)
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
        value = {name.strip(): number for name, _, number in pairs}
    if not isinstance(value, dict):
        return value
    thresholds: dict[str, float] = {}
    for name, number in value.items():
        if name not in ("", "minhash", "rouge-l", "semantic"):
            raise ValueError(f"{name} has no threshold; those that have are minhash, rouge-l and semantic")
        try:
            thresholds[name] = float(number)
        except (TypeError, ValueError):
            raise ValueError(f"{number!r} must be a number, as in 0.8 or rouge-l=0.8") from None
        if not 0 < thresholds[name] < 1:
            raise ValueError(f"{thresholds[name]:g} must lie between 0 and 1")
    return thresholds


FIELDS = ("instruction", "input", "output", "messages", "system", "history", "choices", "images", "chosen", "rejected")
"""The names that fields of other names can stand for."""


def field_map(value: Any) -> Any:
    """Read fields that stand for known ones: "instruction=problem,output=solution.text", a list of such, or a table.

    >>> field_map("instruction=problem,output=solution.text")
    {'instruction': 'problem', 'output': 'solution.text'}
    """
    if not isinstance(value, str | list | tuple):
        return value
    pairs = [part.partition("=") for part in names(value)]
    if any(not field.strip() or not path.strip() for field, _, path in pairs):
        raise ValueError("it says which field stands for which, as in instruction=problem")
    return {field.strip(): path.strip() for field, _, path in pairs}


def known_fields(value: dict[str, str]) -> dict[str, str]:
    for field in value:
        if field not in FIELDS:
            raise ValueError(f"{field}: nothing can stand for that; known are {', '.join(FIELDS)}")
    return value


def encoding(value: str) -> str:
    """Check the name of an encoding."""
    try:
        return codecs.lookup(value).name
    except LookupError:
        raise ValueError(f"{value!r} is no encoding such as latin-1, cp1252 or utf-16") from None


def several(value: Any) -> Any:
    return [value] if isinstance(value, str | Path | dict | Address) else value


def duration(value: Any) -> Any:
    """Read a time: seconds, or "90s", "30m", "2h", "1d".

    >>> duration("30m"), duration("90"), duration(5)
    (1800.0, 90.0, 5)
    """
    if not isinstance(value, str):
        return value
    number, unit = (value[:-1], value[-1:]) if value[-1:] in SECONDS else (value, "s")
    try:
        return float(number) * SECONDS[unit]
    except ValueError:
        raise ValueError(f"{value!r} is no time such as 90, 30m or 2h") from None
