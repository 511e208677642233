"""Every setting, typed. The command line, recipes and the Python API all fill these models.

A field is a flag of the same name (`max_tokens` is `--max-tokens`), a recipe key of the same name, and a keyword
argument of the library call. Its description is the flag's help.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)

from evolgen.errors import UsageError

EMBEDDED_MODEL = "local:smollm2-135m"
"""What answers where no model is named: small enough to be fetched and run anywhere."""


def _weights(value: Any) -> Any:
    """Read operators: "deepen,breadth=0.5", a list of names, or a table of weights.

    >>> _weights("deepen,breadth=0.5")
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


def _positive(weights: dict[str, float]) -> dict[str, float]:
    if not weights or any(not 0 < weight < float("inf") for weight in weights.values()):
        raise ValueError("name at least one operator, each with a weight above 0")
    return weights


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | Path | dict) else value


EliminationRule = Literal["equal", "prompt_leak", "sorry", "stop_words"]

TokenizerName = Literal["unicode", "rouge"]

SeedSource: TypeAlias = str | Path | dict[str, Any]
"""A file's path (`-` for standard input), or a row given in place: {"instruction": ..., "input": ...}."""

Weights = Annotated[dict[str, float], BeforeValidator(_weights), AfterValidator(_positive)]


class Settings(BaseModel):
    """What every command that asks a teacher understands."""

    # built when first used: `evolgen --help` needs the fields and not the validator
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), defer_build=True)

    model: str | None = Field(
        default=None,
        min_length=1,
        description="A model at the endpoint, local:NAME or local:FILE.gguf for the bundled runner, or "
        f"scripted:FILE. Default: EVOLGEN_MODEL, else the embedded {EMBEDDED_MODEL}.",
    )
    base_url: str | None = Field(
        default=None, min_length=1, description="The OpenAI-compatible endpoint. Default: OpenAI's own."
    )
    api_key_env: str = Field(
        default="OPENAI_API_KEY", min_length=1, description="The environment variable that holds the key."
    )
    answer_model: str | None = Field(
        default=None, min_length=1, description="Another model for answering. Default: --model."
    )
    judge_model: str | None = Field(
        default=None, min_length=1, description="Another model for judging. Default: --model."
    )
    model_tag: str | None = Field(
        default=None, description="Tells apart two servers that call their model by the same name: it enters every key."
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Of generating calls. Default: the pipeline's."
    )
    top_p: float | None = Field(default=None, gt=0, le=1, description="Of generating calls. Default: the pipeline's.")
    max_tokens: int = Field(default=2048, ge=1, description="The longest answer; one that is cut becomes a rejection.")
    timeout: float = Field(default=120.0, gt=0, description="Seconds that one call may take.")
    attempts: int = Field(default=8, ge=1, description="Calls spent on one question before its row is rejected.")
    concurrency: int | None = Field(
        default=None, ge=1, description="Calls in flight. Default: 32; the local runner's slots for a local model."
    )
    max_requests: int | None = Field(
        default=None, ge=1, description="Stop cleanly before more calls than this are paid."
    )
    offline: bool = Field(default=False, description="Ask nothing: every answer must be in the store.")
    seed: int = Field(default=0, description="Every random draw derives from it.")
    store: Path = Field(default=Path(".evolgen/store.sqlite"), description="Where paid answers are kept.")
    prompts: Path | None = Field(default=None, description="A folder of templates that override the shipped ones.")
    strict: bool = Field(default=False, description="A bad line in the input is fatal, before anything is asked.")
    force: bool = Field(default=False, description="Overwrite an existing output that evolgen did not write.")

    @field_serializer("base_url")
    def _without_secrets(self, url: str | None) -> str | None:
        return None if url is None else public_url(url)

    @model_validator(mode="after")
    def _endpoint_needs_a_model(self) -> Settings:
        if self.base_url is not None and self.model is None:
            raise ValueError("base_url: name the endpoint's model too (--model)")
        return self


class EvolveConfig(Settings):
    """Evol-Instruct: `evolgen evolve`."""

    seeds: Annotated[Sequence[SeedSource], BeforeValidator(_several), Field(min_length=1)] = Field(
        description="Seed instructions: JSONL, JSON, CSV or text files, also .gz; - is standard input."
    )
    out: Path = Field(description="The dataset to write (JSONL).")
    n: int | None = Field(default=None, ge=1, description="Stop at exactly this many accepted rows.")
    rounds: int = Field(default=4, ge=1, description="Evolutions per lineage.")
    operators: Weights | None = Field(
        default=None,
        description="Operators to draw from, with weights if you like: deepen,breadth=0.5. Default: all six.",
    )
    keep: Literal["all", "last"] = Field(
        default="all", description="Keep the rows of all rounds, or each lineage's last."
    )
    include_seeds: bool = Field(default=False, description="Answer the seeds themselves too and keep them.")
    no_rule: list[EliminationRule] = Field(
        default_factory=list, description="Switch an elimination rule off (repeatable)."
    )


def default_model() -> str | None:
    """The model that the environment names, if it does."""
    return os.environ.get("EVOLGEN_MODEL") or None


def default_base_url() -> str | None:
    """The endpoint that the environment names, if it does; None is OpenAI's own."""
    return os.environ.get("OPENAI_BASE_URL") or None


def api_key(variable: str, base_url: str | None) -> str:
    """The key that an environment variable holds.

    Many local endpoints want none, so it is only required for OpenAI's own; raises UsageError there.
    """
    key = os.environ.get(variable, "").strip()
    if not key and base_url is None:
        raise UsageError(
            f"the environment variable {variable} holds no API key; set it, name another with --api-key-env, "
            "or name an endpoint with --base-url"
        )
    return key or "none"


def public_url(url: str) -> str:
    """A URL fit to be shown: without user, password and query.

    >>> public_url("https://me:secret@api.example.com:8000/v1?key=secret")
    'https://api.example.com:8000/v1'
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def explain_invalid(error: ValidationError) -> str:
    """Pydantic's findings in a sentence: which setting, what is wrong with it.

    An unknown setting is named with the nearest known one.
    """
    problems = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, EvolveConfig.model_fields, n=1)
            problems.append(f"{name}: there is no such setting{f'; did you mean {near[0]}?' if near else ''}")
        elif problem["type"] == "missing":
            problems.append(f"{name}: this setting is needed")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{name}: {message}" if name else message)
    return "; ".join(problems)
