"""census: how long the queue is, for /metrics and /healthz, at a price that does not grow with it.

Counting a million groups takes a fraction of a second, and monitoring may ask several times a second.  So the count is made
behind the question: a short queue is counted when somebody asks; a long one by itself, so seldom that counting takes SHARE of
the time at most.  The figures are never estimates: each is exact for a moment that lies no longer back than the last
count took, times 1 / SHARE, and EVERY_SECONDS at least.  The age of the oldest message is always looked up afresh.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from sealroute.base.errors import SealrouteError
from sealroute.ports import Clock, GroupState, Queue
from sealroute.services.metrics import QueueState

QUICK_SECONDS = 0.005
"""A count that took no longer is made anew for whoever asks."""
SHARE = 0.01
EVERY_SECONDS = 1.0


class Census:
    """The last count; `keep` renews it while the queue is long."""

    def __init__(self, queue: Queue, clock: Clock, timer: Callable[[], float] = time.perf_counter) -> None:
        self._queue = queue
        self._clock = clock
        self._timer = timer
        self._depth: Mapping[GroupState, int] | None = None
        self._took_seconds = 0.0
        self._counting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Census {dict(self._depth or {})}, counted in {self._took_seconds * 1000:.1f} ms>"

    async def look(self) -> QueueState:
        """How the queue is; raises StoreUnavailable."""
        oldest = await self._queue.oldest()
        if self._depth is None or self._took_seconds <= QUICK_SECONDS:
            await self._count()
        assert self._depth is not None
        age = (self._clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        return QueueState(self._depth, max(age, 0.0))

    async def keep(self) -> None:
        """Count for ever.  What the store cannot tell now it is asked later; who looks hears of the trouble."""
        while True:
            await asyncio.sleep(max(EVERY_SECONDS, self._took_seconds / SHARE))
            if self._depth is not None and self._took_seconds > QUICK_SECONDS:
                try:
                    await self._count()
                except SealrouteError:
                    continue

    async def _count(self) -> None:
        if self._counting.locked():  # somebody counts: theirs is as good
            async with self._counting:
                if self._depth is not None:
                    return
        async with self._counting:
            started = self._timer()
            self._depth = await self._queue.depth()
            self._took_seconds = self._timer() - started
