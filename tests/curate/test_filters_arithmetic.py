"""Sums that are wrong are found; whatever may be right or no sum at all is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolgen.curate.filters import arithmetic
from evolgen.records import Texts


def wrong_arithmetic(output: str, instruction: str = "How much is it?") -> str | None:
    return arithmetic.wrong_arithmetic(Texts(instruction, "", output))


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("12 * 7 = 74", "84"),
        ("So 12 × 7 = 74.", "84"),
        ("First, 3 + 4 = 8, then we go on.", "7"),
        ("2 + 3 * 4 = 21", "14"),
        ("(2 + 3) * 4 = 14", "20"),
        ("1,200 + 300 = 1,400", "1,500"),
        ("15% of 200 = 35", "30"),
        ("$5 + $3 = $9", "8"),
        ("10 / 4 = 2.6", "2.5"),
        ("2^10 = 1000", "1,024"),
        ("2**3 = 6", "8"),
        ("3 + 4 = 7 = 5 + 3", "8"),
        ("8 ÷ 2 = 3", "4"),
        ("3 x 4 = 13", "12"),
        ("1/2 + 1/3 = 2/5", "0.4"),
        ("5 + 5 = 11 apples", "10"),
        ("Seven tickets cost 12 * 7 = 74 euros.", "84"),
        ("The average is (3 + 5 + 7) / 3 = 6.", "5"),
        ("**12 * 7 = 74**", "84"),
        ("答案是12 × 7 = 74。", "84"),
        ("The sum:\n17 + 25 = 43\nDone.", "42"),
        ("0.1 + 0.2 = 0.4", "0.3"),
        ("100 - 35 = 75", "65"),
    ],
)
def test_wrong_sums(text: str, worth: str) -> None:
    reason = wrong_arithmetic(text)
    assert reason is not None
    assert reason.endswith(f" is {worth}"), reason


@pytest.mark.parametrize(
    "text",
    [
        "12 * 7 = 84", "2 + 3 * 4 = 14", "1,200 + 300 = 1,500", "15% of 200 = 30", "$5 + $3 = $8", "10 / 3 = 3.33", "2/3 = 0.67",
        "2/3 = 0.66", "1/3 = 33.3%", "10 / 3 ≈ 3", "about 10 / 3 = 3", "0.1 + 0.2 = 0.3", "2^10 = 1024", "2^0.5 = 1.41",
        "2x + 3 = 7", "x = 3 + 4", "x = 3 + 4 = 7", "f(3) + 1 = 9", "a1 + 2 = 9", "3 + 4 = y", "3 + 4 = 7x", "3 == 4", "7 // 2 = 3",
        "7 % 2 = 1", "7 / 2 = 3 remainder 1", "7 / 2 = 3 R 1", "101 + 10 = 111", "0b1 + 1 = 3", "in binary 1 + 1 = 10",
        "5 + 10 = 3 (mod 12)", "2020-01-02 = 5", "version 1.2.3 = 4", "1:2 = 3:6", "n = 5", "3 = 3", "5 = 6", "= 5", "3 + = 4",
        "`1 + 1 = 3`", "```\n1 + 1 = 3\n```", "12 * 7 = 80 + 4", "3 + 4 = 7 = 5 + 2", "(1 + 2) * (3 + 4) = 21", "-3 + 5 = 2",
        "3! + 1 = 7", "5² = 25", "√9 + 1 = 4", "3 + 4 = 7.", "3 + 4 = 7, so", "9^99999 = 1", "9^9^9^9 = 1", "1/0 = 5",
        "007 + 1 = 9", "|3 - 5| = 2", "sin 30 + 1 = 2", "10 km / 2 h = 5 km/h", "1 + 1 = 3 is wrong", "1000000 / 3 = 333333",
        "3 + 4 = 7 + 0", "log2 8 = 3", "C = 5/9 * 3 = 2", "6 ÷ 2(1 + 2) = 9", "1 + 2 + ... + 10 = 55", "12 * 7 = ?", "5 - -3 = 8",
        "50% = 0.5", "3 + 4 =\n8", "2 + 3 * 4 = 20", "7 - 10 = 3", "It is wrong that 2 + 2 = 5.", "9 + 5 = 2 pm",
        "90 / 60 = 1 hour 30 minutes", "12/25/2020 = 9 + 9", "4/4 = 4 beats a bar", "10 + 10% = 12",
        "twice 3 + 1 = 7", "half of 10 + 2 = 7", "Step 5 = 2 + 2", "10 / 3 = 3", "30 / 200 * 100 = 15%", "3.14 * 25 = 78.54",
    ],
)  # fmt: skip
def test_right_sums_and_what_is_none(text: str) -> None:
    assert wrong_arithmetic(text) is None


not_binary = st.integers(2, 999).filter(lambda number: not set(str(number)) <= {"0", "1"})


@given(st.lists(not_binary, min_size=2, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_right_sums_are_never_rejected_and_wrong_ones_are(numbers: list[int], data: st.DataObject) -> None:
    operators = data.draw(st.lists(st.sampled_from("+-*"), min_size=len(numbers) - 1, max_size=len(numbers) - 1))
    sum = " ".join([str(numbers[0]), *(f"{op} {n}" for op, n in zip(operators, numbers[1:], strict=True))])
    value = eval(sum)
    assert wrong_arithmetic(f"We get {sum} = {value}.") is None
    added = " + ".join(map(str, numbers))
    wrong = eval(added) + data.draw(st.sampled_from([1, 10, 100]))
    assert wrong_arithmetic(f"We get {added} = {wrong}.") is not None
