"""The rules of `evolgen filter`, as the program lists them and as the docs show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evolgen.curate.filters.catalogue import PRESETS, RULES
from evolgen.curate.filters.rule import REQUIRED, Rule

EXAMPLE = 60
"""Characters of an example that the docs show."""


def rules_text() -> str:
    """What `--list-rules` prints: a block a rule, then the presets."""
    return "\n".join(_lines())


def rules_page() -> str:
    """The page of the docs."""
    presets = "".join(f"- `{name}`: {', '.join(f'`{rule}`' for rule in rules)}\n" for name, rules in PRESETS.items())
    return (
        "# The rules of `evolgen filter`\n\n"
        "Made from the code by `python -m evolgen.report.rules`; `evolgen filter --list-rules` prints the same.\n"
        "Rules are tried in this order, and the first that rejects a row names it. See [curate.md](curate.md) for the "
        f"command.\n\n{rules_table()}\n## Presets\n\n{presets}"
    )


def rules_table() -> str:
    """The same as a Markdown table, with the source and an example of each rule."""
    head = "| rule | looks at | rejects | setting | presets | source | example |\n|---|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{rule.name}` | {', '.join(rule.parts)} | {_cell(rule.about)} | {_cell(_setting(rule))} | "
        f"{', '.join(_presets_of(rule.name))} | {rule.source} | {_cell(_example(rule))} |\n"
        for rule in RULES.values()
    )


def _lines() -> Iterator[str]:
    for rule in RULES.values():
        setting = _setting(rule)
        yield f"{rule.name}{f'  ({setting})' if setting else ''}"
        yield f"    {', '.join(rule.parts)}: rejects {rule.about}"
        if presets := _presets_of(rule.name):
            yield f"    in {', '.join(presets)}"
    yield ""
    for name, rules in PRESETS.items():
        yield f"preset {name}: {', '.join(rules)}"
    yield ""


def _presets_of(rule: str) -> list[str]:
    return [name for name, rules in PRESETS.items() if rule in rules]


def _setting(rule: Rule) -> str:
    if rule.setting is None:
        return ""
    if rule.setting.default is REQUIRED:
        return f"{rule.setting.name}, needed"
    default: Any = rule.setting.default
    return rule.setting.name if default is None else f"{rule.setting.name}, {default} by itself"


def _example(rule: Rule) -> str:
    """The texts that the rule looks at, in its example."""
    texts = rule.example
    if rule.parts in (("row",), ("task",)):
        instances = [(texts.input, texts.output), *texts.more]
        shown = [texts.instruction, *(text for instance in instances for text in instance if text)]
    elif texts.output is not None and "output" in rule.parts:
        shown = [texts.output]
    else:
        shown = [texts.input if rule.parts == ("input",) else texts.instruction]
    setting = "" if rule.example_setting is True else f" (with {rule.example_setting})"
    return " / ".join(_short(text) for text in shown) + setting


def _short(text: str) -> str:
    text = text.encode("unicode_escape").decode() if not text.isprintable() and text.isascii() else text
    text = text if len(text) <= EXAMPLE else f"{text[:EXAMPLE]}..."
    return f"`{text.replace('`', chr(0x2CB))}`" if text.strip() else "(white space)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(rules_page(), end="")
