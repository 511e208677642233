"""Sums in an answer, checked: "12 * 7 = 74" is a defect that text alone shows.

Only plain arithmetic between numbers is read. Where anything makes it doubtful (a letter beside it, a base, a modulus,
an operator that this grammar doesn't know) nothing is said: a sum that goes unchecked does less harm than a right
answer that is thrown away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

LONGEST = 200
"""Characters of an expression that is read."""

LARGEST_EXPONENT = 64
LARGEST_DIGITS = 30

OTHER_ARITHMETIC = re.compile(
    r"\b(?:binary|hex|hexadecimal|octal|mod|modulo|modular|modulus|base|bitwise|clock|o'clock|remainder|cipher|boolean|"
    r"concatenat\w*|vector|matrix|puzzle|riddle|joke|wrong|incorrect|mistake|error|false)\b|\bR ?\d|÷=|\+=|-=|\*=",
    re.IGNORECASE,
)
ROUNDED = re.compile(
    r"≈|~|\b(?:about|approximate\w*|approx|roughly|around|round\w*|nearly|almost|estimate\w*)\b", re.IGNORECASE
)

_NUMBER = r"[$€£]?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\s?%?"
_TERM = rf"[(\s]*[-−]?{_NUMBER}[)\s]*"
_OPERATOR = r"(?:\*\*|[-+−–*·×/÷^]|\bx\b|\bof\b)"
_SIDE = rf"{_TERM}(?:{_OPERATOR}{_TERM}){{0,12}}"
_EQUATION = re.compile(rf"{_SIDE}(?:(?<!=)=(?!=){_SIDE}){{1,6}}")
_TOKEN = re.compile(r"\s*(?:([$€£]?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(\s?%)?|(\*\*|[-+−–*·×/÷^()]|x|of))")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)

_ADJOINING = re.compile(r"[^\s(\[\"'“:;]\Z|\d:\Z")
_BEFORE = re.compile(r"(?:[*/^+\-−–×·÷=<>!%|√(\[]|\b(?:sin|cos|tan|log\w*|ln|sqrt|root|abs|max|min|version))\s*\Z")
_AFTER = re.compile(r"\s*(?:[\w(\[{*/^+×·÷=<>!√²³°:|]|[-−–]\s*[\w(]|\.\.|[.,]\d|\\)")
_UNIT = re.compile(r"\s+(?!x\b|of\b|mod\b|r\b)[a-z]{2,}", re.IGNORECASE)


class Unreadable(ValueError):
    """An expression that is not plain arithmetic."""


def wrong_arithmetic(text: str) -> str | None:
    """An equation between numbers that does not hold.

    >>> wrong_arithmetic("12 * 7 = 74")
    'it says "12 * 7 = 74", but 12 * 7 is 84'
    >>> wrong_arithmetic("10 / 3 = 3.33, 15% of 200 = 30, 2x + 3 = 7")
    """
    if "=" not in text or not any(map(str.isdigit, text)) or OTHER_ARITHMETIC.search(text):
        return None
    prose = _CODE.sub(" ", text) if "`" in text else text
    for place, equation in _equations(prose):
        rounded = bool(ROUNDED.search(prose[max(0, place - 80) : place + len(equation) + 40]))
        try:
            reason = _wrong(equation, rounded=rounded)
        except (Unreadable, ZeroDivisionError):
            continue
        if reason is not None:
            return reason
    return None


def _equations(text: str) -> Iterator[tuple[int, str]]:
    """Equations that stand alone: nothing before or after them that belongs to them."""
    for line in re.finditer(r"[^\n]*=[^\n]*", text):
        if len(line[0]) > 20 * LONGEST:
            continue
        for found in _EQUATION.finditer(line[0]):
            equation = found[0].strip()
            start = line.start() + found.start() + len(found[0]) - len(found[0].lstrip())
            before = text[max(line.start(), start - 12) : start]
            after = text[start + len(equation) : start + len(equation) + 12]
            alone = not _ADJOINING.search(before) and not _BEFORE.search(before)
            if alone and len(equation) <= LONGEST and (not _AFTER.match(after) or _UNIT.match(after)):
                yield start, equation


def _wrong(equation: str, *, rounded: bool) -> str | None:
    sides = [side.strip() for side in equation.split("=")]
    if _looks_binary(sides):
        raise Unreadable(equation)
    values = [_value(side) for side in sides]
    for left, right in zip(range(len(sides)), range(1, len(sides)), strict=False):
        if not re.search(_OPERATOR, sides[left].lstrip("-− (")) and not re.search(
            _OPERATOR, sides[right].lstrip("-− (")
        ):
            raise Unreadable(equation)  # 5 = 6 states nothing that could be worked out
        if not _holds(values[left], sides[right], values[right], rounded) and not _holds(
            values[right], sides[left], values[left], rounded
        ):
            worked, said = (left, right) if re.search(_OPERATOR, sides[left].lstrip("-− (")) else (right, left)
            return (
                f'it says "{sides[left]} = {sides[right]}", but {sides[worked]} is {_shown(values[worked])}'
                if said != worked
                else None
            )
    return None


def _holds(value: Fraction, said: str, stated: Fraction, rounded: bool) -> bool:
    """Whether a stated number is the value, or the value rounded or cut to the decimals that are stated."""
    if value == stated:
        return True
    if re.search(_OPERATOR, said.lstrip("-− (")):
        return False
    percent = 100 if "%" in said else 1
    decimals = len(said.rstrip(" %)").partition(".")[2])
    if not decimals and not rounded:
        return value.denominator != 1 and percent * abs(value - stated) <= Fraction(1, 2) and abs(value) > 1000
    unit = Fraction(1, 10**decimals * percent)
    return abs(value - stated) < unit or (rounded and abs(value - stated) * 20 <= abs(value))


def _looks_binary(sides: list[str]) -> bool:
    numbers = re.findall(r"\d+", " ".join(sides))
    if any(number.startswith("0") and len(number) > 1 for number in re.findall(r"(?<![\d.,])\d+", " ".join(sides))):
        return True
    return all(set(number) <= {"0", "1"} for number in numbers) and any(len(number) > 1 for number in numbers)


def _value(side: str) -> Fraction:
    """The exact value of an expression: precedence as usual, ^ and ** to the right."""
    tokens: list[str | Fraction] = []
    place = 0
    while place < len(side):
        found = _TOKEN.match(side, place)
        if found is None:
            raise Unreadable(side)
        place = found.end()
        number, percent, operator = found.groups()
        if number is not None:
            digits = number.strip("$€£ ").replace(",", "")
            if len(digits) > LARGEST_DIGITS:
                raise Unreadable(side)
            tokens.append(Fraction(digits) / (100 if percent else 1))
        else:
            tokens.append(_OPERATORS.get(operator, operator))
    reader = _Reader(tokens)
    value = reader.sum()
    if reader.tokens:
        raise Unreadable(side)
    return value


_OPERATORS = {"−": "-", "–": "-", "·": "*", "×": "*", "x": "*", "of": "*", "÷": "/", "**": "^"}


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[str | Fraction]) -> None:
        self.tokens = tokens[::-1]

    def sum(self) -> Fraction:
        value = self._product()
        while (operator := self._take("+", "-")) is not None:
            other = self._product()
            value = value + other if operator == "+" else value - other
        return value

    def _product(self) -> Fraction:
        value = self._power()
        while (operator := self._take("*", "/")) is not None:
            other = self._power()
            value = value * other if operator == "*" else value / other
        return value

    def _power(self) -> Fraction:
        negative = self._take("-") is not None
        value = self._atom()
        if self._take("^") is not None:
            exponent = self._power()
            if exponent.denominator != 1 or abs(exponent) > LARGEST_EXPONENT:
                raise Unreadable("exponent")
            value = value ** int(exponent)
            if value.numerator.bit_length() + value.denominator.bit_length() > LARGEST_EXPONENT * LARGEST_DIGITS * 4:
                raise Unreadable("too large")
        return -value if negative else value

    def _atom(self) -> Fraction:
        if self._take("(") is not None:
            value = self.sum()
            if self._take(")") is None:
                raise Unreadable("unclosed")
            return value
        token = self.tokens.pop() if self.tokens else None
        if not isinstance(token, Fraction):
            raise Unreadable(str(token))
        return token

    def _take(self, *operators: str) -> str | None:
        if self.tokens and self.tokens[-1] in operators:
            return str(self.tokens.pop())
        return None


def _shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"
