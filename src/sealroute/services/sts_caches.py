"""Policy caches for whoever looks and must not change what delivery knows: one that is always empty, one that only reads.

services/sts keeps what it fetches in its own memory as well, so that within one use nothing is fetched twice.
"""

from __future__ import annotations

from sealroute.ports import CachedPolicy, PolicyCache


class NothingKept:
    """`ports.PolicyCache`, always empty: as a sender who has never heard of the domain."""

    async def get(self, domain: str) -> CachedPolicy | None:
        return None

    async def put(self, policy: CachedPolicy) -> None: ...

    async def remove(self, domain: str) -> None: ...

    async def expiring(self, before: object, limit: int) -> list[CachedPolicy]:
        return []


class OnlyRead(NothingKept):
    """What delivery has kept, for reading: an analysis, perhaps by another resolver, must leave no policy behind."""

    def __init__(self, cache: PolicyCache) -> None:
        self._cache = cache

    async def get(self, domain: str) -> CachedPolicy | None:
        return await self._cache.get(domain)
