"""Every setting, typed. The command line, recipes and the Python API all fill these models.

A field is a flag of the same name (`max_tokens` is `--max-tokens`), a recipe key of the same name, and a keyword
argument of the library call. Its description is the flag's help.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    field_serializer,
    model_validator,
)

from evolgen.config import values
from evolgen.config.address import Address
from evolgen.errors import nearest

EMBEDDED_MODEL = "local:smollm2-135m"
"""What answers where no model is named: small enough to be fetched and run anywhere."""


EliminationRule = Literal["equal", "prompt_leak", "sorry", "stop_words"]

TokenizerName = Literal["unicode", "rouge"]

DedupeMethod = Literal["exact", "minhash", "rouge-l", "semantic"]

SeedSource: TypeAlias = str | Path | dict[str, Any]
"""A file's path (`-` for standard input), or a row given in place: {"instruction": ..., "input": ...}."""

OUT_HELP = "The dataset to write (JSONL)."
INPUTS_HELP = "Rows: JSONL, JSON, CSV or text files, also .gz; - is standard input."
TOKENIZER_HELP = "unicode: words in any script; rouge: those of the original, ASCII only."
KEPT_HELP = "Where the rows that are kept go (JSONL), as they came; rejected ones lie beside it."

Inputs = Annotated[Sequence[SeedSource], BeforeValidator(values.several), Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(values.names)]
Methods = Annotated[tuple[DedupeMethod, ...], BeforeValidator(values.names), Field(min_length=1)]
Against = Annotated[Sequence[Path], BeforeValidator(values.several)]
Rules = Annotated[dict[str, Any], BeforeValidator(values.rules)]
Thresholds = Annotated[dict[str, float], BeforeValidator(values.thresholds)]
BaseUrls = Annotated[tuple[Annotated[Address, PlainValidator(Address.read)], ...], BeforeValidator(values.several)]
Duration = Annotated[float, BeforeValidator(values.duration), Field(gt=0)]
Weights = Annotated[dict[str, float], BeforeValidator(values.weights), AfterValidator(values.positive)]


class Config(BaseModel):
    """What every command understands."""

    # built when first used: `evolgen --help` needs the fields and not the validator
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), defer_build=True, hide_input_in_errors=True
    )

    strict: bool = Field(default=False, description="A bad line in the input is fatal, before anything is done.")
    force: bool = Field(default=False, description="Overwrite an existing output that evolgen did not write.")


class Endpoint(Config):
    """What every command that may ask a model understands."""

    model: str | None = Field(
        default=None,
        min_length=1,
        description="A model at the endpoint, local:NAME or local:FILE.gguf for the bundled runner, or "
        f"scripted:FILE. Default: EVOLGEN_MODEL, else the embedded {EMBEDDED_MODEL}.",
    )
    base_url: BaseUrls = Field(
        default=(),
        description="The OpenAI-compatible endpoint; several are replicas of the same model (repeatable). Default: "
        "OpenAI's own.",
    )
    api_key_env: str = Field(
        default="OPENAI_API_KEY", min_length=1, description="The environment variable that holds the key."
    )
    model_tag: str | None = Field(
        default=None, description="Tells apart two servers that call their model by the same name: it enters every key."
    )
    timeout: float = Field(default=120.0, gt=0, description="Seconds that one call may take.")
    attempts: int = Field(default=8, ge=1, description="Calls spent on one question before its row is rejected.")
    concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Calls in flight at an endpoint, fewer while it pushes back. Default: 32; the local runner's slots "
        "for a local model; 50,000 questions with --batch.",
    )
    rpm: float | None = Field(default=None, gt=0, description="Requests a minute at an endpoint.")
    tpm: float | None = Field(default=None, gt=0, description="Tokens a minute at an endpoint, estimated beforehand.")
    give_up: Duration = Field(
        default=1800.0,
        description="How long the teacher may be out of reach, or ask to be left alone, until the run stops: 30m, 2h.",
    )
    wait_for_teacher: Duration = Field(
        default=10.0,
        description="How long the run waits for a teacher out of reach that has not answered yet: 5m for a server that "
        "is loading.",
    )
    max_requests: int | None = Field(
        default=None, ge=0, description="Stop cleanly before more calls than this are paid."
    )
    max_total_tokens: int | None = Field(
        default=None, ge=0, description="Stop cleanly before more tokens than this are paid, calls in flight included."
    )
    max_usd: float | None = Field(
        default=None, ge=0, description="Stop cleanly before more dollars than this are paid, calls in flight included."
    )
    prices: Path | None = Field(
        default=None,
        description="A table of prices (TOML) that goes before the shipped one; docs/teachers.md shows it.",
    )
    offline: bool = Field(default=False, description="Ask nothing: every answer must be in the store.")
    store: Path = Field(default=Path(".evolgen/store.sqlite"), description="Where paid answers are kept.")

    @field_serializer("base_url")
    def _without_secrets(self, urls: tuple[Address, ...]) -> list[str]:
        return [str(url) for url in urls]

    @model_validator(mode="after")
    def _endpoint_needs_a_model(self) -> Endpoint:
        if self.base_url and self.model is None:
            raise ValueError("base_url: name the endpoint's model too (--model)")
        return self


class Settings(Endpoint):
    """What every pipeline understands."""

    out: Path = Field(description=OUT_HELP)
    answer_model: str | None = Field(
        default=None, min_length=1, description="Another model for answering. Default: --model."
    )
    judge_model: str | None = Field(
        default=None, min_length=1, description="Another model for judging. Default: --model."
    )
    chat_template: str | None = Field(
        default=None,
        description="How chats are written for a local model: vicuna-v1.1, llama-3, ... Default: as its file says, "
        "else by its name.",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Of generating calls. Default: the pipeline's."
    )
    top_p: float | None = Field(default=None, gt=0, le=1, description="Of generating calls. Default: the pipeline's.")
    max_tokens: int = Field(default=2048, ge=1, description="The longest answer; one that is cut becomes a rejection.")
    batch: bool = Field(
        default=False,
        description="Ask through the endpoint's batch API: half the price, answers within a day. Stop and go on as you "
        "like: batches under way are found again.",
    )
    estimate: bool = Field(default=False, description="Say what the run would take, ask nothing, write nothing.")
    probe: int | None = Field(
        default=None,
        ge=1,
        description="With --estimate: have so many rows made for real and go by what they took; the store keeps them.",
    )
    seed: int = Field(default=0, description="Every random draw derives from it.")
    prompts: Path | None = Field(default=None, description="A folder of templates that override the shipped ones.")

    @model_validator(mode="after")
    def _batches_have_one_endpoint(self) -> Settings:
        if self.batch and len(self.base_url) > 1:
            raise ValueError("batch: a batch is at one endpoint; give one --base-url")
        return self

    @model_validator(mode="after")
    def _probing_is_for_an_estimate(self) -> Settings:
        if self.probe is not None and (not self.estimate or self.batch):
            raise ValueError("probe: it goes with --estimate, and asks directly: leave --batch out")
        return self


class EvolveConfig(Settings):
    """Evol-Instruct: `evolgen evolve`."""

    seeds: Inputs = Field(
        description="Seed instructions: JSONL, JSON, CSV or text files, also .gz; - is standard input."
    )
    out: Path = Field(description=OUT_HELP)
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


class SelfInstructConfig(Settings):
    """New tasks from a few: `evolgen self-instruct`."""

    seeds: Inputs = Field(description="Seed tasks: JSONL, JSON, CSV or text files, also .gz; - is standard input.")
    out: Path = Field(description=OUT_HELP)
    n: int = Field(ge=1, description="Go on until exactly this many rows are accepted.")
    style: Literal["self-instruct", "alpaca"] = Field(
        default="self-instruct",
        description="self-instruct: four stages, with instances of each new task. alpaca: many tasks in one call.",
    )
    against: Against = Field(
        default=(), description="Existing data whose instructions new ones must differ from as well (repeatable)."
    )
    threshold: float = Field(
        default=0.7, gt=0, lt=1, description="A new instruction whose ROUGE-L to a known one is above it is rejected."
    )
    tokenizer: TokenizerName = Field(default="unicode", description=TOKENIZER_HELP)
    no_rule: Names = Field(default_factory=tuple, description="Leave a rule of the style out (repeatable).")
    lag: int = Field(
        default=512, ge=1, description="How many requests before it a request sees the pool; it decides what is asked."
    )
    completion: bool = Field(
        default=False, description="The model has no chat tuning: ask it to go on with few-shot texts."
    )


class RespondConfig(Settings):
    """Answers to instructions and conversations: `evolgen respond`."""

    inputs: Inputs = Field(
        description="Prompts or conversations: JSONL, JSON, CSV or text files, also .gz; - is standard input."
    )
    out: Path = Field(description=OUT_HELP)
    samples: int = Field(default=1, ge=1, description="Answers to each prompt.")
    system: str | None = Field(
        default=None, min_length=1, description="A system message for prompts that have none of their own."
    )


class FilterConfig(Config):
    """Rules on finished rows: `evolgen filter`."""

    inputs: Inputs = Field(description=INPUTS_HELP)
    out: Path = Field(description=KEPT_HELP)
    preset: Names | None = Field(
        default=None,
        description="Groups of rules: clean, self-instruct, alpaca, evol-instruct, privacy (repeatable). "
        "Default: clean, unless --rule names rules.",
    )
    rule: Rules = Field(
        default_factory=dict,
        description="A rule, with its setting where it has one: --rule sorry --rule min_output_words=5 (repeatable).",
    )
    no_rule: Names = Field(default_factory=tuple, description="Leave a rule of the presets out (repeatable).")


class DedupeConfig(Endpoint):
    """Rows that say what other rows say: `evolgen dedupe`."""

    inputs: Inputs = Field(description=INPUTS_HELP)
    out: Path = Field(description=KEPT_HELP)
    method: Methods = Field(
        default=("exact", "rouge-l"),
        description="exact, minhash, rouge-l, semantic; several, with commas or repeated, run one after the other, the "
        "cheapest first. Default: exact,rouge-l.",
    )
    threshold: Thresholds = Field(
        default_factory=dict,
        description="A row above it is a duplicate, for all methods or by name: 0.8, or rouge-l=0.7,semantic=0.95. "
        "Default: 0.7, semantic 0.9.",
    )
    field: Literal["instruction", "input", "output", "all"] | None = Field(
        default=None, description="What is compared. Default: instruction and input."
    )
    tokenizer: TokenizerName = Field(default="unicode", description=TOKENIZER_HELP)
    against: Against = Field(
        default=(), description="Existing data that rows are compared with as well; it is not output (repeatable)."
    )
    keep: Literal["first", "longest"] = Field(default="first", description="Which of several duplicates stays.")
    ngram: int = Field(default=5, ge=1, le=50, description="minhash: words in an n-gram.")
    permutations: int = Field(default=128, ge=1, le=4096, description="minhash: hash functions.")
    bands: int | None = Field(
        default=None, ge=1, le=4096, description="minhash: bands of the LSH. Default: as the threshold calls for."
    )

    @model_validator(mode="after")
    def _bands_need_permutations(self) -> DedupeConfig:
        if self.bands is not None and self.bands > self.permutations:
            raise ValueError(f"bands: {self.bands} bands need as many --permutations at least, not {self.permutations}")
        return self


class DecontaminateConfig(Config):
    """Rows that hold items of a benchmark: `evolgen decontaminate`."""

    inputs: Inputs = Field(description=INPUTS_HELP)
    out: Path = Field(description=KEPT_HELP)
    against: Against = Field(min_length=1, description="Benchmarks, whose items no row may hold (repeatable).")
    field: Literal["instruction", "input", "output", "all"] = Field(
        default="all", description="What of a row is looked at."
    )
    ngram: int = Field(default=8, ge=1, le=50, description="Tokens in an n-gram that covers a part of an item.")
    coverage: float = Field(
        default=0.5, ge=0, lt=1, description="A row that covers more than this share of an item's tokens is rejected."
    )
    exact_ngram: int = Field(
        default=13, ge=1, le=100, description="A row that shares a run of so many tokens with an item is rejected."
    )


def explain_invalid(error: ValidationError, model: type[BaseModel]) -> str:
    """Pydantic's findings in a sentence: which setting, what is wrong with it.

    An unknown setting is named with the nearest known one.
    """
    problems = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
        if problem["type"] == "extra_forbidden":
            near = nearest(name, model.model_fields)
            problems.append(f"{name}: there is no such setting{f'; did you mean {near}?' if near else ''}")
        elif problem["type"] == "missing":
            problems.append(f"{name}: this setting is needed")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{name}: {message}" if name else message)
    return "; ".join(problems)
