"""One endpoint: how much it may be asked now, by its limits and by what it answered.

Pure state: nothing here waits, and the time (seconds of any clock) is an argument.
"""

from __future__ import annotations

import math

from evolgen.backends import Backend, Limits

CALM = 2.0
"""Seconds for which an endpoint that pushed back without a word on when to return is not lowered again."""

STRIKES = 3
"""Connections that fail one after the other until an endpoint counts as down."""

BURST = 1.0
"""Seconds' worth of a limit by the minute that may be used at once."""


class Rate:
    """A limit by the minute, as a leaky bucket that holds one second's worth.

    >>> rate = Rate(60)
    >>> rate.take(1, now=0.0), rate.ready_at(), rate.take(1, now=0.5), rate.ready_at()
    (None, 0.0, None, 1.0)
    """

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._full_until = -math.inf

    def ready_at(self) -> float:
        """From when on more may be taken, however much it is."""
        return self._full_until - BURST

    def take(self, amount: float, now: float) -> None:
        if self._seconds_each:
            self._full_until = max(self._full_until, now) + amount * self._seconds_each

    def correct(self, amount: float) -> None:
        """Take so much more (or, below 0, less): what was taken before was an estimate."""
        self._full_until += amount * self._seconds_each


class Replica:
    """An endpoint and its state.

    Its width, the calls that it may have in flight, goes up by one for each width of answers and is halved when it
    pushes back (429, 503, timeouts): once for all that were in flight together, and once a Retry-After. It pauses when
    a whole Retry-After went by without an answer. After connections that failed in a row it is down: then one call at a
    time tries it, after growing pauses. `probe_pauses` are the first and the longest of them, in seconds.
    """

    def __init__(self, backend: Backend, limits: Limits, probe_pauses: tuple[float, float] = (0.5, 30.0)) -> None:
        self.backend = backend
        self.in_flight = 0
        self.down = False
        self._most = limits.concurrency
        self._width = float(limits.concurrency)
        self._requests = Rate(limits.rpm)
        self._tokens = Rate(limits.tpm)
        self._probe_pauses = probe_pauses
        self._window = (-math.inf, -math.inf)
        self.last_life = -math.inf
        self._last_answer = -math.inf
        self._paused_until = -math.inf
        self._strikes = 0
        self._probing = False
        self._probe_at = -math.inf

    @property
    def width(self) -> int:
        """Calls that it may have in flight now."""
        return max(1, int(self._width))

    @property
    def load(self) -> float:
        return self.in_flight / self.width

    def ready_at(self) -> float:
        """From when on it may be called; infinity where a call must come back first."""
        if self.down:
            return math.inf if self._probing else self._probe_at
        if self.in_flight >= self.width:
            return math.inf
        return max(self._paused_until, self._requests.ready_at(), self._tokens.ready_at())

    def take(self, tokens: float, now: float) -> None:
        """A call goes out that is estimated to take so many tokens."""
        self.in_flight += 1
        self._probing = self.down
        self._requests.take(1, now)
        self._tokens.take(tokens, now)

    def let_go(self) -> None:
        """A call is back, its answer stored."""
        self.in_flight -= 1

    def answered(self, now: float, tokens_beyond: float) -> None:
        """A call was answered; it took so many tokens more than estimated."""
        self.alive(now)
        self._last_answer = now
        self._width = min(self._most, self._width + 1 / self._width)
        self._tokens.correct(tokens_beyond)

    def alive(self, now: float) -> None:
        """It gave a sign of life, if only an error."""
        self.last_life = now
        self.down = self._probing = False
        self._strikes = 0

    def pushed_back(self, now: float, retry_after: float | None, sent: float) -> None:
        """It is asked too much, says the failure of a call that was sent at some time."""
        began, ends = self._window
        if now < ends or sent < began:
            return  # one halving a Retry-After, and none for calls that went out before the last one
        if retry_after and ends > -math.inf and self._last_answer < began:
            self._paused_until = now + retry_after
        self._width = max(1.0, self._width / 2)
        self._window = (now, now + (retry_after or CALM))

    def unreachable(self, now: float) -> None:
        """A connection to it failed."""
        self._strikes += 1
        self._probing = False
        if self._strikes >= STRIKES:
            self.down = True
            first, longest = self._probe_pauses
            self._probe_at = now + min(longest, first * 2.0 ** min(self._strikes - STRIKES, 30))
