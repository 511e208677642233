"""Values outside memory come back as they went in."""

from __future__ import annotations

import random

from evolgen import spool
from evolgen.spool import Lines, Spool


def test_lines_in_order_and_by_position() -> None:
    draw = random.Random(0)
    values = [bytes([draw.randrange(256)]) * draw.choice([0, 1, 300, spool.BUFFER, spool.PIECE + 1]) for _ in range(60)]
    lines = Lines()
    for number, value in enumerate(values):
        lines.append(value)
        assert lines[number] == value
    assert len(lines) == 60
    for start in (0, 7, 59, 60):
        found = []
        for value in lines.after(start):
            found.append(value)
            assert lines[3] == values[3]  # another one meanwhile
        assert found == values[start:]
    lines.close()
    assert list(Lines().after(0)) == []


def test_a_spool_gives_back_by_address() -> None:
    values: Spool[tuple[int, str]] = Spool()
    addresses = [values.append((number, "x" * number)) for number in range(50)]
    assert [values[address] for address in reversed(addresses)] == [(n, "x" * n) for n in reversed(range(50))]
    values.clear()
    assert values[values.append((1, "y"))] == (1, "y")
