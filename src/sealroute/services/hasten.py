"""hasten: a destination whose mail met servers that its TLSA records do not match is probed now, not when its time has come.

So an administrator hears of it at once, and of what the destination changed.  Noted in memory on every worker and node and
written behind; of one destination once in an hour, and only destinations that are watched at all are hastened.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

from sealroute.policy.attempt import Attempt
from sealroute.policy.readiness import Sight, sight_of_dane
from sealroute.ports import Clock, Destination, WatchStore
from sealroute.services.flush import keep_flushing

AGAIN = timedelta(hours=1)
MAX_REMEMBERED = 10_000
GATHER_SECONDS = 1.0


class Hasten:
    """What a running gateway wants to be probed soon."""

    def __init__(self, store: WatchStore, clock: Clock, max_remembered: int = MAX_REMEMBERED) -> None:
        self._store = store
        self._clock = clock
        self._max = max_remembered
        self._lately: OrderedDict[Destination, datetime] = OrderedDict()
        self._noted: set[Destination] = set()
        self._some = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Hasten {len(self._noted)} noted>"

    def note(self, organization: str, attempts: Iterable[Attempt]) -> None:
        """Look at the attempts of one run."""
        for attempt in attempts:
            if attempt.verdict is None or sight_of_dane(attempt) is not Sight.FAILED:
                continue
            key, now = (organization, attempt.domain), self._clock.now()
            last = self._lately.pop(key, None)
            self._lately[key] = last if last is not None and now - last < AGAIN else now
            if self._lately[key] is now:
                self._noted.add(key)
                self._some.set()
            if len(self._lately) > self._max:
                forgotten, _ = self._lately.popitem(last=False)
                self._noted.discard(forgotten)

    async def work(self) -> None:
        """Write what was noted, for ever."""
        await keep_flushing(self._some, self.flush, GATHER_SECONDS, "what is to be probed soon")

    async def flush(self) -> None:
        """Make due what was noted; what could not be written stays noted.  Raises StoreUnavailable."""
        self._some.clear()
        noted, self._noted = self._noted, set()
        if not noted:
            return
        try:
            await self._store.hasten(sorted(noted), self._clock.now(), AGAIN)
        except BaseException:
            self._noted |= noted
            self._some.set()
            raise
