"""Why a run asks nothing more, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from evolgen.errors import BudgetReached, Denied, EvolgenError, Stopped, TargetUnreachable


@dataclass(frozen=True)
class Ending:
    """The end of asking: of `DONE`, because the work is done, else for a `reason`.

    `resumable` tells whether the same command goes on from there (else the command itself is wrong), `publish` whether
    the rows finished so far are worth publishing, or stay in the `.part` files because it is about to be run again.
    """

    reason: EvolgenError | None
    resumable: bool = True
    publish: bool = True

    @classmethod
    def by(cls, reason: EvolgenError, *, answered: bool = False) -> Ending:
        """The ending that an error is; after a run was `answered` once, what goes wrong can be taken up again."""
        quota = isinstance(reason, Denied) and reason.rule == "quota"
        return cls(
            reason,
            resumable=answered or quota or isinstance(reason, Stopped),
            publish=isinstance(reason, BudgetReached | TargetUnreachable),
        )

    def error(self) -> EvolgenError:
        """The ending as an error, where there is no summary to tell it in: Stopped if it is resumable."""
        if self.reason is None:
            return Stopped("the work is done")
        return Stopped(str(self.reason)) if self.resumable and not isinstance(self.reason, Stopped) else self.reason

    @property
    def waits(self) -> bool:
        """Whether what takes longer than a call is waited for: a budget paid for it."""
        return isinstance(self.reason, BudgetReached)


DONE = Ending(None)
