"""Personal data and secrets are found where they are real, and never quoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolgen.curate.filters.private_data import FINDERS, describe, mask

FOUND = {
    "email": ["jane.doe@mail.com", "a+b@sub.mail.co.uk", "J_D-1@firma.de"],
    "phone": ["+44 20 7946 1234", "(415) 636-4884", "415-636-4884", "+49 (30) 1234567", "1-800-636-4884", "020 7946 1234",
              "+1.415.636.4884"],
    "card_number": ["4539 1488 0343 6467", "4539148803436467", "5500-0055-5555-5559", "3714 496353 98431"],
    "secret": ["sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv", "AKIAQ3EGRIAZ7XVLTN5C", "ghp_" + "aB3dE6gH9j" * 4,
               "xoxb-908172635401-QwErTzUiOp", "AIzaSyA-" + "b3D6f9H2j5" * 3 + "1", "hf_" + "aB3dE6gH9j" * 3 + "kLmN",
               "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
               "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow" * 20 + "\n-----END RSA PRIVATE KEY-----"],
}  # fmt: skip
NOT_FOUND = {
    "email": ["jane@example.com", "a@localhost", "@jane", "jane @ mail", "x@y", "me@domain.test"],
    "phone": ["1984", "3.14159265", "ISBN 978-3-16-148410-0", "2020-01-02", "192.168.100.200", "1,234,567,890", "$1234567890",
              "(415) 555-0123", "12345678901234567890", "1010 1101 1001 0001"],
    "card_number": ["4539 1488 0343 6468", "1234 5678 9012 3456", "4539148803436467123456", "0000 0000 0000 0000"],
    "secret": ["sk-short", "sk-xxxxxxxxxxxxxxxxxxxxxxxx", "AKIAIOSFODNN7EXAMPLE", 'api_key = "YOUR_API_KEY_HERE_PLEASE"',
               'password = "aaaaaaaaaaaaaaaa"', "token: see below", "ghp_short"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "finding"), [(name, text) for name, texts in FOUND.items() for text in texts])
def test_found_described_and_masked(name: str, finding: str) -> None:
    text = f"Here: {finding} and so on."
    reason = describe(name, text)
    assert reason is not None
    assert "at character 7" in reason
    assert finding not in reason
    assert mask(text, [name]) == f"Here: [{name.upper().replace('_', ' ')}] and so on."


def test_a_password_that_is_written_out() -> None:
    text = 'api_key = "q8Zr2LmX0vPn5TyW7aBc"'
    assert describe("secret", text) is not None
    assert mask(text, ["secret"]) == 'api_key = "[SECRET]"'


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in NOT_FOUND.items() for text in texts])
def test_not_found(name: str, text: str) -> None:
    assert describe(name, f"Here: {text} and so on.") is None


@given(st.text())
def test_what_is_masked_stays_masked(text: str) -> None:
    once = mask(f"{text} a@mail.com {text}", FINDERS)
    assert mask(once, FINDERS) == once


def test_several_are_counted() -> None:
    text = "a@mail.com, b@mail.com"
    assert describe("email", text) == "it has 2 e-mail addresses, the first at character 1"
