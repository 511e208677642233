"""Every setting, typed: here what commands share, and the settings of each command in a module of its name.

The command line, recipes and the Python API all fill these models. A field is a flag of the same name (`max_tokens` is
`--max-tokens`), a recipe key of the same name, and a keyword argument of the library call. Its description is the
flag's help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

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
from evolgen.config.reading import MAX_LINE, Reading
from evolgen.errors import UsageError, nearest

EMBEDDED_MODEL = "local:smollm2-135m"
"""What answers where no model is named: small enough to be fetched and run anywhere."""


EliminationRule = Literal["equal", "prompt_leak", "sorry", "stop_words"]

TokenizerName = Literal["unicode", "rouge"]

SeedSource: TypeAlias = str | Path | dict[str, Any]
"""A file's path (`-` for standard input), or a row given in place: {"instruction": ..., "input": ...}."""

M = TypeVar("M", bound=BaseModel)

STORE = Path(".evolgen/store.sqlite")
"""Where paid answers are kept unless `--store` says otherwise."""

OUT_HELP = "The dataset to write; its ending says the format: .jsonl, .json, .csv, .jsonl.gz, ... - is stdout."
INPUTS_HELP = "Rows: JSONL, JSON, CSV or text files, also .gz; - is standard input."
TOKENIZER_HELP = "unicode: words in any script; rouge: those of the original, ASCII only."
KEPT_HELP = "Where the rows that are kept go, as they came; rejected ones lie beside it. - is stdout."

Inputs = Annotated[Sequence[SeedSource], BeforeValidator(values.several), Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(values.names)]
Against = Annotated[Sequence[Path], BeforeValidator(values.several)]
Rules = Annotated[dict[str, Any], BeforeValidator(values.rules)]
BaseUrls = Annotated[tuple[Annotated[Address, PlainValidator(Address.read)], ...], BeforeValidator(values.several)]
Duration = Annotated[float, BeforeValidator(values.duration), Field(gt=0)]
Encoding = Annotated[str, AfterValidator(values.encoding)]
FieldMap = Annotated[dict[str, str], BeforeValidator(values.field_map), AfterValidator(values.known_fields)]
Weights = Annotated[dict[str, float], BeforeValidator(values.weights), AfterValidator(values.positive)]


class Config(BaseModel):
    """What every command understands."""

    # built when first used: `evolgen --help` needs the fields and not the validator
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), defer_build=True, hide_input_in_errors=True
    )

    strict: bool = Field(default=False, description="A bad line in the input is fatal, before anything is done.")
    force: bool = Field(default=False, description="Overwrite an output that is not this command's, or was changed.")
    encoding: Encoding | None = Field(
        default=None,
        description="The encoding of input files that are not UTF-8 and have no byte order mark: latin-1.",
    )
    map: FieldMap = Field(
        default_factory=dict,
        description="Input fields that stand for known ones: instruction=problem,output=solution.text.",
    )
    rejects: Path | None = Field(default=None, description="With -o -: where rejected rows go. Default: nowhere.")
    manifest: Path | None = Field(default=None, description="With -o -: where the manifest goes. Default: nowhere.")
    max_line: int = Field(
        default=MAX_LINE, ge=1, description="Bytes of a line of input beyond which a file is not read on."
    )

    @property
    def reading(self) -> Reading:
        """How the input is read."""
        return Reading(self.encoding, self.map, self.max_line)

    @classmethod
    def unused(cls, settings: Mapping[str, Any]) -> Mapping[str, str]:
        """The settings that do nothing beside those that were given, and why; to give one of them is an error."""
        beside = "it lies beside the output, unless that is -o -"
        return {} if str(settings.get("out")) == "-" else {"rejects": beside, "manifest": beside}

    @model_validator(mode="after")
    def _nothing_is_given_in_vain(self) -> Self:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        for name, why in self.unused(given).items():
            if name in given:
                raise ValueError(f"{name}: it would do nothing: {why}")
        return self


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
    store: Path = Field(default=STORE, description="Where paid answers are kept.")

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


class WithAnswers(Config):
    """For a pipeline whose teacher answers."""

    answer_model: str | None = Field(
        default=None, min_length=1, description="Another model for answering. Default: --model."
    )


class WithJudge(Config):
    """For a pipeline whose teacher judges."""

    judge_model: str | None = Field(
        default=None, min_length=1, description="Another model for judging. Default: --model."
    )


class WithSeed(Config):
    """For a pipeline that draws at random."""

    seed: int = Field(default=0, description="Every random draw derives from it.")


class WithTemplates(Config):
    """For a pipeline that asks with templates."""

    prompts: Path | None = Field(default=None, description="A folder of templates that override the shipped ones.")


def configured(model: type[M], settings: Mapping[str, Any], config: M | None = None) -> M:
    """A config from settings given by name, on top of a whole one where there is one; raises UsageError."""
    given = {name: getattr(config, name) for name in config.model_fields_set} if config is not None else {}
    try:
        return model(**{**given, **settings})
    except ValidationError as error:
        raise UsageError(explain_invalid(error, model)) from error


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
