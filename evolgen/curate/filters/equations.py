"""Reading plain arithmetic: a side of an equation becomes an exact value, or None if anything in it is unclear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

MOST_TOKENS = 60
MOST_POWER, MOST_DIGITS = 1000, 30


class Token(NamedTuple):
    kind: str  # number, op, (, ), %, currency, =, word, other
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?)"
    r"|(?P<other2>==+|//+|[!<>:+*/~-]=|=>|->|\.\.+|%%)"
    r"|(?P<op>\*\*|[+\-−–*×·⋅÷/^])"
    r"|(?P<open>\()|(?P<close>\))|(?P<percent>%)|(?P<currency>[$€£¥₹])|(?P<eq>=)"
    r"|(?P<word>[^\W\d_]+)|(?P<other>\S)"
)
_KINDS = {"other2": "other", "open": "(", "close": ")", "percent": "%", "eq": "="}
_OPERATORS = {"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "x": "*", "X": "*", "of": "*", "÷": "/", "**": "^"}


@dataclass(frozen=True)
class Side:
    """One side of an equation.

    `rough` is how far numbers with decimals, which may have been rounded, can move the value; `chain` is the value
    when read from left to right, as on a simple calculator.
    """

    text: str
    start: int
    end: int
    value: Fraction
    chain: Fraction | None
    operators: str
    decimals: int
    percent: bool
    rough: Fraction
    tight: bool

    @property
    def whole(self) -> bool:
        """Whether whole numbers were only added, subtracted and multiplied."""
        return self.value.denominator == 1 and not self.decimals and not self.percent and "/" not in self.operators


def tokens(line: str) -> list[Token]:
    """What a line is made of; `x` and `of` are operators between numbers."""
    found: list[Token] = []
    for match in _TOKEN.finditer(line):
        kind = match.lastgroup or "other"
        found.append(Token(_KINDS.get(kind, kind), match[0], match.start(), match.end()))
    for at in range(1, len(found) - 1):
        token, before, after = found[at], found[at - 1], found[at + 1]
        if token.kind != "word" or after.kind not in ("number", "(", "currency"):
            continue
        times = token.text in ("x", "X") and before.kind in ("number", ")") and before.text != "0"
        if times or (token.text == "of" and before.kind == "%"):
            found[at] = token._replace(kind="op")
    return found


def read(side: list[Token], line: str, *, first: bool, spaced: bool) -> Side | None:
    """The side's value, or None where it isn't plain arithmetic; `spaced` says whether "=" has space around it."""
    if not side or len(side) > MOST_TOKENS or _unclear(side, spaced):
        return None
    try:
        parser = _Parser([token for token in side if token.kind != "currency"])
        value = parser.whole()
    except (ValueError, ZeroDivisionError, IndexError):
        return None
    ops = "".join(_sign(token) for token in side if token.kind == "op")
    return Side(
        text=line[side[0].start : side[-1].end],
        start=side[0].start,
        end=side[-1].end,
        value=value,
        chain=_chain(side),
        operators=ops,
        decimals=max((_decimals(token) for token in side if token.kind == "number"), default=0),
        percent=any(token.kind == "%" for token in side),
        rough=_rough(side, value, first) if set(ops) & set("*/^") else Fraction(0),
        tight=all(left.end == right.start for left, right in pairwise(side)),
    )


def _unclear(side: list[Token], spaced: bool) -> bool:
    """Dates, ranges, scores, numbers with leading zeros: what only looks like arithmetic."""
    slash = -3
    for at, token in enumerate(side):
        if token.kind == "number":
            whole = token.text.partition(".")[0]
            if (len(whole) > 1 and whole[0] == "0") or len(token.text) > MOST_DIGITS:
                return True
        if token.kind == "op" and 0 < at < len(side) - 1:
            tight = side[at - 1].end == token.start and token.end == side[at + 1].start
            if tight and _sign(token) == "-" and spaced:
                return True
            if tight and token.text == "/":
                if slash == at - 2:
                    return True
                slash = at
        if token.kind == "%" and at + 1 < len(side) and side[at + 1].kind in ("number", "(", "currency"):
            return True
        if token.kind == "currency" and (at + 1 == len(side) or side[at + 1].kind not in ("number", "(")):
            return True
    return False


def _sign(token: Token) -> str:
    return _OPERATORS.get(token.text, token.text)


def _decimals(token: Token) -> int:
    return len(token.text.partition(".")[2])


def _number(token: Token) -> Fraction:
    return Fraction(token.text.replace(",", ""))


def _rough(side: list[Token], value: Fraction, first: bool) -> Fraction:
    """First-order bound of what rounded decimals do to a product.

    A first side's single decimal ("1.5") is taken as exact.
    """
    error = Fraction(0)
    for token in side:
        places = _decimals(token) if token.kind == "number" else 0
        number = _number(token) if places else Fraction(0)
        if number and places > (1 if first else 0):
            error += Fraction(1, 10**places) / abs(number)
    return abs(value) * error


def _chain(side: list[Token]) -> Fraction | None:
    """The value from left to right, for sides of numbers and + - * / alone."""
    plain = [token for token in side if token.kind != "currency"]
    if any(token.kind != ("op" if at % 2 else "number") for at, token in enumerate(plain)) or len(plain) % 2 == 0:
        return None
    value = _number(plain[0])
    for op, number in zip(plain[1::2], plain[2::2], strict=True):
        try:
            value = _apply(_sign(op), value, _number(number))
        except (ValueError, ZeroDivisionError):
            return None
    return value


def _apply(sign: str, left: Fraction, right: Fraction) -> Fraction:
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
    if right.denominator != 1 or abs(right) > MOST_POWER:
        raise ValueError("a power that can't be had exactly")
    if max(left.numerator.bit_length(), left.denominator.bit_length()) * abs(right) > 100 * MOST_POWER:
        raise ValueError("a power that is too large")
    return Fraction(left ** int(right))


class _Parser:
    """Recursive descent over one side; raises ValueError or IndexError at what it can't read."""

    def __init__(self, side: list[Token]) -> None:
        self.side = side
        self.at = 0

    def whole(self) -> Fraction:
        value = self.sum()
        if self.at != len(self.side):
            raise ValueError("something is left over")
        return value

    def sum(self) -> Fraction:
        value, percents = self.product()
        while (sign := self.next_sign()) in ("+", "-"):
            self.at += 1
            right, percent = self.product()
            if percent != percents:
                raise ValueError("10 + 10% has two readings")
            value = _apply(sign, value, right)
        return value

    def product(self) -> tuple[Fraction, bool]:
        """The value, and whether it is a percentage by itself."""
        value, percent = self.power()
        while (sign := self.next_sign()) in ("*", "/"):
            self.at += 1
            right, _ = self.power()
            value, percent = _apply(sign, value, right), False
        return value, percent

    def power(self) -> tuple[Fraction, bool]:
        negative = self.next_sign() == "-"
        self.at += negative
        value, percent = self.atom()
        if self.next_sign() == "^":
            if negative or percent:
                raise ValueError("the sign of -2^2 has two readings")
            self.at += 1
            exponent, _ = self.power()
            value = _apply("^", value, exponent)
        return -value if negative else value, percent

    def atom(self) -> tuple[Fraction, bool]:
        token = self.side[self.at]
        self.at += 1
        if token.kind == "(":
            value = self.sum()
            if self.side[self.at].kind != ")":
                raise ValueError("no closing bracket")
            self.at += 1
        elif token.kind == "number":
            value = _number(token)
        else:
            raise ValueError("no number")
        if self.at < len(self.side) and self.side[self.at].kind == "%":
            self.at += 1
            return value / 100, True
        return value, False

    def next_sign(self) -> str:
        if self.at == len(self.side) or self.side[self.at].kind != "op":
            return ""
        return _sign(self.side[self.at])
