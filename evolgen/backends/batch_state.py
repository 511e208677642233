"""What an endpoint says of a batch, and what its word for how that stands means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evolgen.backends.words import words_of
from evolgen.errors import Unanswered

Standing = Literal["under way", "over", "failed", "cancelled"]
"""How a batch stands. What one that is over has not answered is asked again; one that failed did so as a whole."""

GONE = "gone"
"""Our own word for a batch that the endpoint knows no more."""

WORDS: Mapping[Standing, str] = {
    "under way": "validating created submitted accepted new queued pending scheduled notstarted waiting preparing "
    "starting started active running inprogress processing finalizing finalising completing paused "
    "cancelling canceling cancellationrequested",
    "over": "completed complete succeeded success successful partiallysucceeded done ended finished "
    f"expired timedout timeout timeoutexceeded {GONE}",
    "failed": "failed failure error errored",
    "cancelled": "cancelled canceled",
}
"""The endpoints' words by what they mean, in small letters and nothing else."""

STANDINGS = {word: standing for standing, words in WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class BatchState:
    """What the endpoint says of a batch, in its own words; `code` and `problem` tell why it failed as a whole."""

    id: str
    status: str
    completed: int
    failed: int
    total: int
    files: tuple[str, ...]
    code: str
    problem: str

    @property
    def known(self) -> Standing | None:
        """What the endpoint's word means; None where we don't know it.

        >>> words = ("JOB_STATE_SUCCEEDED", "In Progress", "Canceled", "musing")
        >>> [BatchState("b", word, 0, 0, 0, (), "", "").known for word in words]
        ['over', 'under way', 'cancelled', None]
        """
        word = re.sub("[^a-z]", "", self.status.lower())
        return STANDINGS.get(re.sub("^(job|batch)(state|status)?", "", word))

    @property
    def standing(self) -> Standing:
        """As `known`; where that is None the batch is over once it has a file and its counts say that all is done."""
        all_done = bool(self.files) and self.completed + self.failed == self.total > 0
        return self.known or ("over" if all_done else "under way")

    @property
    def over(self) -> bool:
        return self.standing != "under way"


def read_state(told: object) -> BatchState:
    """Read what an endpoint says of a batch; raises Unanswered where that is too little to go by."""
    told = table(told)
    id, status = told.get("id"), told.get("status")
    if not isinstance(id, str) or not id or not isinstance(status, str):
        words = words_of(told)
        raise Unanswered("malformed", f"the endpoint's word on a batch can't be read{f': {words}' if words else ''}")
    counts = table(told.get("request_counts"))
    errors = told.get("errors")
    errors = table(errors).get("data", errors)
    error = errors[0] if isinstance(errors, list) and errors else errors
    files = (told.get("output_file_id"), told.get("error_file_id"))
    return BatchState(
        id=id,
        status=status,
        **{name: _number(counts.get(name)) for name in ("completed", "failed", "total")},
        files=tuple(dict.fromkeys(file for file in files if isinstance(file, str) and file)),
        code=words_of(table(error).get("code")),
        problem=words_of(error),
    )


def table(value: object) -> Mapping[str, Any]:
    """A JSON object; of anything else an empty one."""
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    """A count, also as a text."""
    digits = value if isinstance(value, str) else str(value)[:20] if isinstance(value, int) else ""
    return int(digits) if digits.isdecimal() and len(digits) < 20 else 0
