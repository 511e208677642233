"""Where all goes that is drawn for a person: lines, tables, progress."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from evolgen.records import inert


class Screen(Console):
    """A terminal on which texts are as they were given, whatever they hold: nothing in them is markup or a command."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """What rich makes of every text before it is measured and printed."""
        return super().render_str(inert(text), **style)
