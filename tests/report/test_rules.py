"""The page of rules is made from the code."""

from __future__ import annotations

from evolgen.curate.filters.catalogue import PRESETS, RULES
from evolgen.report.rules import rules_page, rules_text
from tests.conftest import ROOT


def test_the_page_of_the_docs_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "rules.md").read_text("utf-8")
    assert page == rules_page(), "make it anew: python -m evolgen.report.rules > docs/rules.md"


def test_every_rule_and_preset_is_listed() -> None:
    text, page = rules_text(), rules_page()
    for name in RULES:
        assert f"\n{name}" in f"\n{text}"
        assert f"| `{name}` |" in page
    for name in PRESETS:
        assert f"preset {name}:" in text
