"""A policy cache that holds nothing and the wall clock: with them services/sts looks at a domain as if for the first time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sealroute.ports import CachedPolicy


class NothingCached:
    """`ports.PolicyCache`, always empty."""

    async def get(self, domain: str) -> CachedPolicy | None:
        return None

    async def put(self, policy: CachedPolicy) -> None: ...

    async def remove(self, domain: str) -> None: ...

    async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
        return []


class WallClock:
    """`ports.Clock` at the speed of the wall."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        await asyncio.sleep((moment - self.now()).total_seconds())
