"""Whether an instruction is new: unlike every seed, every instruction of the pool and all data it must differ from.

Self-Instruct (Wang et al. 2022, section 2.2): a new instruction is kept if its ROUGE-L F1 to each of them is at most
0.7.
"""

from __future__ import annotations

from array import array

from evolgen.curate.dedupe import fingerprint
from evolgen.curate.rouge_l import RougeLIndex
from evolgen.curate.tokens import Tokenizer
from evolgen.records import MATCH_TEXT, Match, printable
from evolgen.spool import Spool


class NoveltyIndex:
    """The instructions that a new one must differ from.

    A text that is equal after folding is found whatever the tokenizer makes of it. For memory see RougeLIndex; what a
    rejection quotes lies in a spool.
    """

    def __init__(self, threshold: float, tokenizer: Tokenizer) -> None:
        self._near = RougeLIndex(threshold, tokenizer)
        self._equal: dict[bytes, int] = {}
        self._addresses = array("Q")
        self._matches: Spool[tuple[str, str, str]] = Spool()

    def add(self, instruction: str, id: str, source: str) -> None:
        """Take an instruction in; `source` as in a `Match`."""
        self._equal.setdefault(fingerprint(instruction), len(self._addresses))
        self._near.add(instruction)
        self._addresses.append(self._matches.append((id, source, printable(instruction[:MATCH_TEXT]))))

    def find(self, instruction: str) -> Match | None:
        """The nearest of those that it is not new beside, the first of equals; None if it is new."""
        position, score = self._equal.get(fingerprint(instruction)), 1.0
        if position is None:
            near = self._near.nearest(instruction)
            if near is None:
                return None
            position, score = near
        id, source, text = self._matches[self._addresses[position]]
        return Match(id=id, source=source, text=text, score=score)
