"""Wrong arithmetic: equations in an output whose two sides differ, as exact fractions tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from evolgen.curate.filters.equations import Side, Token, read, tokens
from evolgen.curate.filters.texts import prose, quoted
from evolgen.records import Texts

_LONGEST_LINE = 3000
_MOST_LINES = 2000
_AROUND = 80

_CANDIDATE = re.compile(r"=[ $€£¥₹(*~-]{0,4}\d")
_LOOKED_AT = 200_000
_OTHER_SYSTEMS = re.compile(
    r"\b(?:binary|hex|hexadecimal|octal|modul\w*|mod|clock|remainder|congruen\w*|roman|boolean|bitwise|xor"
    r"|floats?|floating|javascript|puzzle|riddle|joke|trick|matrix|matrices|vectors?"
    r"|base[ -]?(?:\d+|two|three|eight))\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not|isn['’]t|wrong|incorrect\w*|false|mistake\w*|errors?|instead|never|rather than|supposed|claims?|if)\b|≠",
    re.IGNORECASE,
)
_LATEX = {r"\times": "×", r"\cdot": "·", r"\div": "÷", r"\%": "%", r"\$": "$", r"{,}": ","}
_LATEX |= dict.fromkeys((r"\left", r"\right", r"\(", r"\)", r"\[", r"\]"), "")

_PARTS = frozenset(
    """
    twice thrice half third quarter double triple quadruple of plus minus times over divided multiplied per into than
    about roughly approximately around nearly almost under between from until step steps question problem exercise
    chapter section page part case item row line version room number figure table level task sin cos tan cot log ln lg
    exp sqrt root square squared cube cubed sum product difference quotient average mean median ratio mod versus vs
    dozen hundred thousand million billion negative remaining except without point points score
    """.split()  # noqa: SIM905
)
"""Words before an equation of which it may be a part; after any other word of three letters it begins."""

_SHORT_LEADS = frozenset(("so", "is", "we", "us", "be", "or", "as", "by", "it"))
_LEAD_SIGNS = frozenset(":;,.!?\"'“‘«”*_>#•—|[]{}…→✓✅，。：；、（")
_TIGHT_LEAD_SIGNS = frozenset("\"'“‘«*_[{|>，。：；、（")
_LEAD_CHARS = frozenset("是得为以此有即等于则")
_END_SIGNS = frozenset(".,;?)\"'”’»*_~]}|:，。；、）…`")
_SCALES = frozenset(
    """
    million millions billion billions trillion thousand thousands hundred hundreds dozen dozens k m bn percent remainder
    rem r mod modulo and or with am pm o to x y z a b c n i times plus minus over divided per degrees half lakh crore
    """.split()  # noqa: SIM905
)
_UNSURE_SIGNS = frozenset("√±\\^<²³")
_KINDS = frozenset(("number", "op", "(", ")", "%", "currency", "="))


def wrong_arithmetic(row: Texts) -> str | None:
    """The first equation that is plain arithmetic and wrong; any doubt counts for the output.

    >>> wrong_arithmetic(Texts("What is 12 * 7?", "", "12 * 7 = 74"))
    'it says "12 * 7 = 74", but 12 * 7 is 84'
    """
    output = row.output and row.output[:_LOOKED_AT]
    if not output or "=" not in output or not _CANDIDATE.search(output):
        return None
    question = f"{row.instruction[:_LOOKED_AT]}\n{row.input[:_LOOKED_AT]}"
    if _OTHER_SYSTEMS.search(question) or _OTHER_SYSTEMS.search(output):
        return None
    found = next(_wrong(prose(output)), None)
    if found is None or next(_wrong(question, denied=True), None) is not None:
        return None
    claim, reason = found
    return None if _bare(claim) in _bare(question) else reason


def _bare(text: str) -> str:
    return "".join(text.split())


def _wrong(text: str, *, denied: bool = False) -> Iterator[tuple[str, str]]:
    """Each wrong equation with the reason; `denied` takes in those that the text itself doubts."""
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        if "=" not in line or len(line) > _LONGEST_LINE:
            continue
        if "\\" in line:
            for command, sign in _LATEX.items():
                line = line.replace(command, sign)  # noqa: PLW2901  # the line as it is read
        for left, right in _equations(line, denied=denied):
            said = _contradiction(left, right)
            if said is not None:
                claim = line[left.start : right.end]
                yield claim, f"it says {quoted(claim)}, but {said}"


def _equations(line: str, *, denied: bool) -> Iterator[tuple[Side, Side]]:
    """Neighbouring sides of the line's equations, where both can be read."""
    found = tokens(line)
    start = 0
    while start < len(found):
        end = start
        while end < len(found) and found[end].kind in _KINDS:
            end += 1
        run = found[start:end]
        if any(token.kind == "=" for token in run) and (denied or not _denied(line, run)):
            sides = _sides(found, start, end, line)
            yield from ((a, b) for a, b in pairwise(sides) if a is not None and b is not None)
        start = end + 1


def _denied(line: str, run: list[Token]) -> bool:
    around = line[max(0, run[0].start - _AROUND) : run[-1].end + _AROUND]
    return _DENIED.search(around) is not None


def _sides(found: list[Token], start: int, end: int, line: str) -> list[Side | None]:
    run = found[start:end]
    cuts = [at for at, token in enumerate(run) if token.kind == "="]
    spaced = any(line[run[at].start - 1 : run[at].start].isspace() for at in cuts)
    parts = [run[a + 1 : b] for a, b in pairwise([-1, *cuts, len(run)])]
    before = found[start - 1] if start else None
    after = found[end] if end < len(found) else None
    parts[0] = _trim_first(parts[0], before, line)
    parts[-1] = _trim_last(parts[-1], after, line)
    return [read(part, line, first=at == 0, spaced=spaced) for at, part in enumerate(parts)]


def _trim_first(side: list[Token], before: Token | None, line: str) -> list[Token]:
    """The first side without list marks, bold marks and open brackets; empty if it may begin before the run."""
    depth = 0
    for at, token in enumerate(side):
        depth += (token.kind == "(") - (token.kind == ")")
        if depth < 0:  # "1) 3 + 4"
            listed = at == 1 and before is None
            return _trim_first(side[at + 1 :], None, line) if listed else []
    while depth > 0 and side and side[0].kind == "(":
        side, depth, before = side[1:], depth - 1, None
    if side and side[0].kind == "op":
        bullet = before is None and line[side[0].end : side[0].end + 1] == " "
        bold = side[0].text in ("*", "**")
        if bullet or bold:
            side = side[1:]
        elif side[0].text != "-" or line[side[0].end : side[0].end + 1] == " ":
            return []
    return side if side and _may_begin(before, side[0]) else []


def _may_begin(before: Token | None, first: Token) -> bool:
    if before is None:
        return True
    tight = before.end == first.start
    if before.kind == "word":
        word = before.text.lower()
        begins = word in _SHORT_LEADS or (len(word) > 2 and word.isalpha() and word not in _PARTS)
        return before.text[-1] in _LEAD_CHARS or (not tight and begins)
    return before.text[-1] in (_TIGHT_LEAD_SIGNS if tight else _LEAD_SIGNS)


def _trim_last(side: list[Token], after: Token | None, line: str) -> list[Token]:
    """The last side without what only follows it; empty if it may go on after the run."""
    depth = 0
    for at, token in enumerate(side):
        depth += (token.kind == "(") - (token.kind == ")")
        if depth < 0:  # "(so 3 + 4 = 7)"
            return side[:at] if at == len(side) - 1 else []
    if side and side[-1].kind == "(" and side[-1].start > side[max(0, len(side) - 2)].end:
        return side[:-1]
    while side and (side[-1].text in ("*", "**", "$")) and len(side) > 1 and side[-2].end == side[-1].start:
        side = side[:-1]
        if after is not None and after.start == side[-1].end + 1:
            return []
    return side if side and _may_end(side[-1], after, line) else []


def _may_end(last: Token, after: Token | None, line: str) -> bool:
    if after is None:
        return True
    following = line[after.end : after.end + 1]
    if last.end == after.start:
        return after.text[0] in _END_SIGNS and not following.isdigit()
    if after.kind == "word":
        rest = line[after.end : after.end + 12].split()
        counted = any(part[0].isdigit() for part in rest[:2])
        return after.text.lower() not in _SCALES and not counted
    return after.text[0] not in _UNSURE_SIGNS


def _contradiction(left: Side, right: Side) -> str | None:
    """What the expression really is, if the two sides can't both be right."""
    if not left.operators and not right.operators:
        return None
    if _range(left, right) or _range(right, left) or _agree(left, right):
        return None
    side, other = (left, right) if left.operators else (right, left)
    if other.operators:
        return f"{left.text} is {_shown(left.value)} and {right.text} is {_shown(right.value)}"
    return f"{side.text} is {_shown(side.value)}"


def _range(side: Side, other: Side) -> bool:
    """Whether "90 - 100 = 4" is a range and its grade, or "4/4 = 4" a bar and its beats."""
    if side.operators == "-" and side.value < 0 <= other.value:
        return True
    return side.operators == "/" and side.tight and not other.operators and other.decimals == 0


def _agree(left: Side, right: Side) -> bool:
    scales = (1, 100, Fraction(1, 100)) if left.percent or right.percent else (1,)
    lefts = [left.value] if left.chain is None else [left.value, left.chain]
    rights = [right.value] if right.chain is None else [right.value, right.chain]
    return any(
        abs(a - b * scale) <= _tolerance(left, right, a, b, scale) for a in lefts for b in rights for scale in scales
    )


def _tolerance(left: Side, right: Side, a: Fraction, b: Fraction, scale: Fraction | int) -> Fraction:
    """How far two sides may lie apart: stated decimals may be rounded or cut at their last place."""
    if left.whole and right.whole:
        return Fraction(0)
    size = max(abs(a), abs(b * scale))
    if left.operators and right.operators:
        return size / 50
    side, stated = (left, right) if left.operators else (right, left)
    unit = Fraction(1, 10**stated.decimals)
    if stated.decimals == 0 and not side.whole:
        digits = stated.text.rstrip("0")
        zeros = len(stated.text) - len(digits)
        unit = Fraction(10**zeros) if zeros > 1 and abs(stated.value) >= 10**zeros else unit
    if stated.percent:
        unit /= 100
    if stated is right:
        unit *= scale
    return unit * Fraction(999, 1000) + side.rough + size / 10**9


def _shown(value: Fraction) -> str:
    """A value as a reason shows it: six digits where it is not a whole number.

    >>> _shown(Fraction(84)), _shown(Fraction(10, 3))
    ('84', '3.33333')
    """
    if value.denominator == 1:
        return f"{int(value):,}" if abs(value) < 10**15 else f"{float(value):.6g}" if abs(value) < 10**300 else "huge"
    return f"{float(value):.6g}" if abs(value) < 10**300 else "huge"
