"""So many messages a minute: a bucket of tokens, kept as the moment from which on the next may go.

Messages are spread evenly; what was not used is kept for one second at most.  So no minute sees more than the limit and one
second's share (at least one message) of it.  This is the generic cell rate algorithm: exact in whole microseconds, one
moment of state, and nothing to be counted while nobody sends.
"""

from __future__ import annotations

from datetime import datetime, timedelta

_MINUTE_US = 60_000_000


class Bucket:
    """One limit; `now` never comes from here."""

    __slots__ = ("_full_at", "_slack", "interval", "per_minute")

    def __init__(self, per_minute: int, now: datetime) -> None:
        self.per_minute = per_minute
        self.interval = timedelta(microseconds=-(-_MINUTE_US // per_minute))
        """From one message to the next, rounded up: never more than the limit."""
        self._slack = self.interval * (self.burst - 1)
        self._full_at = now
        """When all tokens are there again."""

    def __repr__(self) -> str:
        return f"<Bucket {self.per_minute}/min>"

    @property
    def burst(self) -> int:
        """How many may go at once after a pause."""
        return max(1, self.per_minute // 60)

    def due(self, now: datetime) -> datetime:
        """When the next token is there; in the past or `now`: it is."""
        # Further ahead than taking could bring it means that the clock was set back: nobody waits for that.
        self._full_at = min(self._full_at, now + self._slack + self.interval)
        return self._full_at - self._slack

    def take(self, now: datetime) -> None:
        """Use a token; whoever takes one that is not due yet makes the others wait longer."""
        self._full_at = max(self._full_at, now) + self.interval

    def tokens(self, now: datetime) -> int:
        """How many may go now."""
        due = self.due(now)
        return 0 if due > now else min(self.burst, (now - due) // self.interval + 1)
