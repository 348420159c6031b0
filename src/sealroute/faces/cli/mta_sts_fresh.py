"""The wall clock, for commands that look at a domain as if for the first time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class WallClock:
    """`ports.Clock` at the speed of the wall."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        await asyncio.sleep((moment - self.now()).total_seconds())
