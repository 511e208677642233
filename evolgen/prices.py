"""What a model's tokens cost: a table in TOML, shipped with a few entries, and the user's own before it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evolgen.errors import UsageError

SHIPPED = Path(__file__).with_name("prices.toml")

MILLION = 1_000_000

_DATED = re.compile(r"[-@]\d{4}-?\d{2}-?\d{2}$")


class Price(BaseModel):
    """US dollars per million tokens; cached input costs as much as any where nothing else is said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)

    def of(self, prompt: float, cached: float, completion: float) -> float:
        """Dollars for so many tokens; `cached` are part of the prompt's.

        >>> Price(input=1.0, cached_input=0.5, output=10.0).of(3000, 1000, 100)
        0.0035
        """
        cached_input = self.input if self.cached_input is None else self.cached_input
        dollars = (prompt - cached) * self.input + cached * cached_input + completion * self.output
        return dollars / MILLION

    def times(self, factor: float) -> Price:
        """The price of a discount."""
        cached = None if self.cached_input is None else self.cached_input * factor
        return Price(input=self.input * factor, output=self.output * factor, cached_input=cached)


FREE = Price(input=0.0, output=0.0)
"""The price of a model on this machine."""


class Prices:
    """The prices of models by name; `dates` says of when each table is."""

    def __init__(self, own: Path | None = None, share: float = 1.0) -> None:
        """Raises UsageError if the user's own table is none; `share` of each price is paid."""
        self.dates: dict[str, str] = {}
        self._share = share
        self._prices: dict[str, Price] = {}
        for path in (SHIPPED, own):
            if path is not None:
                self._add(path)

    def of(self, model: str) -> Price | None:
        """The price of a model, or None where it is unknown.

        >>> Prices().of("gpt-4o-mini-2024-07-18") == Prices().of("gpt-4o-mini"), Prices().of("my-own-model")
        (True, None)
        """
        price = self._prices.get(model) or self._prices.get(_DATED.sub("", model))
        return price if price is None or self._share == 1.0 else price.times(self._share)

    def free(self, model: str) -> None:
        """A model costs nothing: it runs on this machine."""
        self._prices[model] = FREE

    def _add(self, path: Path) -> None:
        try:
            table = tomllib.loads(path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--prices {path}: it can't be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"--prices {path}: not TOML: {error}") from error
        models: Any = table.get("models")
        if not isinstance(models, Mapping) or table.keys() - {"models", "date"}:
            raise UsageError(f'--prices {path}: it must hold tables such as [models."gpt-4o"], and a date if you like')
        for name, entry in models.items():
            try:
                self._prices[name] = Price.model_validate(entry)
            except ValidationError as error:
                problem = error.errors()[0]
                where = ".".join(map(str, problem["loc"])) or "entry"
                raise UsageError(f'--prices {path}: [models."{name}"] {where}: {problem["msg"]}') from error
        self.dates[path.name] = str(table.get("date", "no date"))
