"""The queue's clock: the wall's, or one that a lab lets run faster [settings lab.clock_speed].

Only waiting and expiry follow it.  DNSSEC signatures and certificates are judged by the wall, which is the moment that
peers live in; so a compressed day in the queue does not expire anybody's certificate.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

LONGEST_SLEEP_SECONDS = 60.0
"""No single sleep is longer, so that a set clock or a suspended machine is noticed."""


class SystemClock:
    """ports.Clock."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._started = datetime.now(UTC)
        self._origin = time.monotonic()

    def __repr__(self) -> str:
        return f"<SystemClock at {self._speed:g} times the wall's speed>"

    def now(self) -> datetime:
        """The queue's time."""
        if self._speed == 1.0:
            return datetime.now(UTC)
        return self._started + timedelta(seconds=(time.monotonic() - self._origin) * self._speed)

    async def sleep_until(self, moment: datetime) -> None:
        """Return when the queue's time has reached the moment."""
        while (left := (moment - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - for a moment, not an event
            await asyncio.sleep(min(left / self._speed, LONGEST_SLEEP_SECONDS))
