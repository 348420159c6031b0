"""How long a client may take: when a session is to be looked at again, and what is due then.  Seconds of the loop's clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from sealroute.net.smtp_in_config import ReceiveLimits

SHORTEST_WAIT_SECONDS = 0.05
OURS_WAIT_SECONDS = 1.0


class Due(Enum):
    """What is to be done with a session."""

    NOTHING = auto()
    TIMED_OUT = auto()
    """It has been silent for too long, or goes on after it was told to leave: close it."""
    LEAVE = auto()
    """It has lasted long enough: tell it so, as soon as that is polite."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A session as it is now."""

    now: float
    began: float
    last: float
    """When the client last did something."""
    in_content: bool
    ours: bool
    """It waits for us, or for the handshake, which has a time of its own."""

    def wait(self, limits: ReceiveLimits) -> float:
        """How long until the next look."""
        session_end = self.began + limits.session_seconds
        if self.now >= session_end or self.ours:
            wait = OURS_WAIT_SECONDS
        else:
            wait = min(self.last + self._silence(limits), session_end) - self.now
        # Never later than a silence in content would be noticed: content may begin in the meantime.
        return max(SHORTEST_WAIT_SECONDS, min(wait, limits.data_seconds))

    def due(self, limits: ReceiveLimits) -> Due:
        lasted = self.now - self.began
        if self.ours:
            return Due.NOTHING
        if lasted >= limits.session_seconds + limits.data_seconds or self.now - self.last >= self._silence(limits):
            return Due.TIMED_OUT
        return Due.LEAVE if lasted >= limits.session_seconds else Due.NOTHING

    def _silence(self, limits: ReceiveLimits) -> float:
        return limits.data_seconds if self.in_content else limits.command_seconds
