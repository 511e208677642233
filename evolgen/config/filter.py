"""The settings of `evolgen filter`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from evolgen.config import INPUTS_HELP, KEPT_HELP, Config, Inputs, Names, Rules


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
