"""Presets and single rules -> a filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from evolgen.curate.filters.catalogue import MASKED, PRESETS, RULES
from evolgen.curate.filters.private_data import mask
from evolgen.curate.filters.rule import Rule
from evolgen.errors import UsageError, nearest
from evolgen.records import Texts

DEFAULT_PRESET = "clean"

PLACES = {"instruction": 0, "task": 1, "context": 2, "input": 3, "output": 4, "row": 5}
"""The parts that a rule can look at, in the order in which a row's are laid out for it."""

CONTEXT = PLACES["context"]

OF_AN_INSTANCE = PLACES["input"]
"""From here on the parts are those of one instance."""


class Complaint(NamedTuple):
    """Why a row is rejected: a rule and its reason."""

    rule: str
    reason: str


class Filter:
    """Some rules with their settings, tried in the order of the catalogue.

    `mask` changes texts instead of rejecting their rows, where a rule is set to that; it is None where none is.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        masked = [name for name, setting in settings.items() if name in MASKED and setting == "mask"]
        self.mask: Callable[[str], str] | None = partial(mask, names=masked) if masked else None
        self._checks = [
            (name, PLACES[part], _bound(RULES[name], setting))
            for name, setting in settings.items()
            if name not in masked
            for part in RULES[name].parts
        ]

    def judge(self, texts: Texts) -> Complaint | None:
        """The first rule that rejects a row, and why; None if it is fine.

        Of a task with several instances each is looked at. Rules on an answer don't look at rows without a place for
        one.
        """
        context = texts.context + texts.refused
        values = (texts.instruction, texts, None, texts.input, texts.output, texts)
        others = [Texts(texts.instruction, *instance) for instance in texts.more]
        for rule, place, check in self._checks:
            if place == CONTEXT:
                reason = next(filter(None, map(check, context)), None) if context else None
            else:
                value = values[place]
                reason = None if value is None else check(value)
            if reason is not None:
                return Complaint(rule, f"instance 1: {reason}" if others and place >= OF_AN_INSTANCE else reason)
            if others and place >= OF_AN_INSTANCE and (reason := _other_reason(check, place, others)) is not None:
                return Complaint(rule, reason)
        return None


def select(
    presets: Sequence[str] | None, rules: Mapping[str, Any] | None = None, no_rule: Sequence[str] = ()
) -> Filter:
    """The rules of some presets and single ones, without those of `no_rule`.

    A rule's value is its setting, or true for the setting that it has by itself. Without presets and rules it is the
    preset `clean`. Raises UsageError for a name or a setting that there isn't, with the nearest that there is.
    """
    rules = rules or {}
    names = presets if presets is not None else () if rules else (DEFAULT_PRESET,)
    given: dict[str, Any] = {}
    for preset in names:
        given |= PRESETS[_known(preset, PRESETS, "preset")]
    given |= {_known(name, RULES, "rule"): value for name, value in rules.items() if value is not False}
    for name in no_rule:
        if _known(name, RULES, "rule") not in given:
            raise UsageError(f"--no-rule {name}: it is not among the rules: {', '.join(sorted(given))}")
        del given[name]
    if not given:
        raise UsageError("no rule is left to filter by: name a --preset or a --rule")
    return Filter({name: _setting(rule, given[name]) for name, rule in RULES.items() if name in given})


def _other_reason(check: Callable[[Any], str | None], place: int, others: list[Texts]) -> str | None:
    """What is wrong with the second instance or a later one."""
    for number, row in enumerate(others, start=2):
        value = (row.input, row.output, row)[place - OF_AN_INSTANCE]
        reason = None if value is None else check(value)
        if reason is not None:
            return f"instance {number}: {reason}"
    return None


def _bound(rule: Rule, setting: Any) -> Callable[[Any], str | None]:
    if rule.setting is None or rule.name in MASKED:
        return rule.check

    def check(value: Any) -> str | None:
        return rule.check(value, setting)

    return check


def _setting(rule: Rule, value: Any) -> Any:
    if rule.setting is not None:
        return rule.setting.read(rule.name, value)
    if value is not True:
        raise UsageError(f"--rule {rule.name}={value}: this rule has no setting")
    return None


def _known(name: str, known: Iterable[str], kind: str) -> str:
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
        raise UsageError(f"there is no {kind} {name}; {hint}")
    return name
