"""windows: keep what this node learned of destinations, so that a restart goes on where it stopped.

Loaded once before the first run; written in batches, at most every few seconds and only what changed, and once more at the
end.  A write that fails is tried again; nothing waits for it, and mail goes on without.  The bound is that of what is
remembered (services/destinations).
"""

from __future__ import annotations

import asyncio

import structlog

from sealroute.base.errors import StoreUnavailable
from sealroute.ports import WindowStore
from sealroute.services.destinations import MAX_REMEMBERED, Destinations

log = structlog.get_logger("sealroute.windows")
WRITE_EVERY_SECONDS = 5.0
BATCH = 500


class Windows:
    """The memory of one node, at rest."""

    def __init__(self, store: WindowStore, destinations: Destinations, node: str) -> None:
        self._store = store
        self._destinations = destinations
        self._node = node

    def __repr__(self) -> str:
        return f"<Windows of {self._node!r}: {len(self._destinations.changed)} to be written>"

    async def load(self) -> None:
        """Take up what was kept.  Raises StoreUnavailable."""
        self._destinations.load(await self._store.load(self._node, MAX_REMEMBERED))

    async def work(self) -> None:
        """Write what changed, for ever."""
        while True:
            await asyncio.sleep(WRITE_EVERY_SECONDS)
            try:
                await self.flush()
            except StoreUnavailable as error:
                log.warning("what destinations bear could not be written", error=str(error))

    async def flush(self) -> None:
        """Write all that changed; what could not be written is tried again next time.  Raises StoreUnavailable."""
        changed = self._destinations.changed
        while changed:
            batch = [changed.pop(domain) for domain in list(changed)[:BATCH]]
            try:
                await self._store.save(self._node, [destination.state() for destination in batch])
            except BaseException:
                for destination in batch:
                    changed.setdefault(destination.domain, destination)
                raise
