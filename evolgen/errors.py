"""Every error that evolgen raises on purpose.

    EvolgenError
    ├── UsageError              the command or its input is wrong; nothing was asked
    ├── StoreError              the store can't be used, or can't be written any more
    ├── ModelError              a local model is missing, damaged or can't be served
    ├── Stopped                 the run ended early and can be resumed
    │   ├── Interrupted             Ctrl-C or SIGTERM
    │   ├── BudgetReached           --max-requests and its kin
    │   ├── Unreachable             nothing but connection errors for a while
    │   ├── NotStored               --offline met a question without an answer
    │   └── TargetUnreachable       -n asks for more rows than the yield allows
    └── TeacherError            one call failed; `rule` is the name a rejection carries
        ├── Refused                 this question will never be answered: its row is rejected
        ├── Unanswered              the teacher failed for now: asked again, then rejected
        │   └── ConnectionFailed        ... and gave no sign of life
        └── Denied                  no question will be answered: the run stops

What they mean for a run is said by `engine.ending`, the exit code that a command ends with by `cli.errors`. Each
message says what is wrong, where, and what to do about it, in a sentence or two.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

GO_ON = "run the same command again to go on"


OF_CONTENT = ("content_filter", "context_length", "refusal", "finish_reason", "too_large")
"""Rules of refusals that are for what a question says: asked again it would be refused again, and another would not."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, for an error to suggest.

    >>> nearest("deepn", ["deepen", "breadth"])
    'deepen'
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


class EvolgenError(Exception):
    """The root: a message for a person."""


class UsageError(EvolgenError):
    """The command, the configuration or the input can't be used as given."""


class StoreError(EvolgenError):
    """The store of answers can't be opened, read or written."""


class ModelError(EvolgenError):
    """A local model can't be found, fetched or served."""


class Stopped(EvolgenError):
    """The run ended before its work was done; the same command goes on from there."""


class Interrupted(Stopped):
    """Ctrl-C or SIGTERM."""


class BudgetReached(Stopped):
    """A limit that the user set on what a run may spend."""


class Unreachable(Stopped):
    """The teacher gave no sign of life for a while."""


class NotStored(Stopped):
    """`--offline` met a question that the store can't answer."""


class TargetUnreachable(Stopped):
    """`-n` rows can't be had at the present yield."""


class TeacherError(EvolgenError):
    """One call to a teacher failed; `rule` is the rule that a rejection for it carries.

    `status` is the endpoint's, `said` all that it said, without secrets, and `param` the parameter that it named as
    the wrong one; each where there was one.
    """

    def __init__(
        self, rule: str, message: str, *, status: int | None = None, said: str = "", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.rule = rule
        self.status = status
        self.said = said
        self.param = param


class Refused(TeacherError):
    """The teacher will never answer this question (context too long, content filter)."""


class Unanswered(TeacherError):
    """The call failed in a way that may pass: worth another attempt.

    `retry_after` is the teacher's own word, in seconds, on when to come back; None where it gave none.
    """

    def __init__(self, rule: str, message: str, retry_after: float | None = None, **told: Any) -> None:
        super().__init__(rule, message, **told)
        self.retry_after = retry_after


class ConnectionFailed(Unanswered):
    """No response at all: refused, reset or unresolvable."""


class Denied(TeacherError):
    """No question will be answered until the user changes something (key, model, quota)."""
