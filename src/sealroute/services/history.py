"""history: remember what destinations had, and tell when it is gone; beside the mail, never in its way.

`look` is called with every plan that is newly made (not with every message) and only notes it; `work` reads what is known of
the noted destinations, lets policy/history compare, writes in batches, and tells of the events that were written.  What is
noted is bounded: of one destination the latest counts, and of too many the oldest are left out until they are planned anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from sealroute.policy.connector import Connector
from sealroute.policy.decide import Plan
from sealroute.policy.evidence import Evidence
from sealroute.policy.history import Drift, observe, seen
from sealroute.ports import HistoryChange, HistoryStore
from sealroute.services.flush import keep_flushing

MAX_NOTED = 10_000
BATCH = 100
"""Compared without a pause: a hundred plans are a hundredth of a second that mail waits for."""
GATHER_SECONDS = 1.0
"""How long plans are collected before they are looked at together."""


class History:
    """The memory of a running gateway."""

    def __init__(self, store: HistoryStore, heard: Callable[[Drift], None], max_noted: int = MAX_NOTED) -> None:
        self._store = store
        self._heard = heard
        self._max = max_noted
        self._noted: OrderedDict[tuple[str, str], Evidence] = OrderedDict()
        self._some = asyncio.Event()

    def __repr__(self) -> str:
        return f"<History {len(self._noted)} noted>"

    def look(self, connector: Connector, plan: Plan) -> None:
        """Note a plan just made."""
        key = (connector.organization, plan.evidence.domain)
        self._noted[key] = plan.evidence
        if len(self._noted) > self._max:
            self._noted.popitem(last=False)
        self._some.set()

    async def work(self) -> None:
        """Compare and write what was noted, for ever."""
        await keep_flushing(self._some, self.flush, GATHER_SECONDS, "what destinations had")

    async def flush(self) -> None:
        """Compare and write all that is noted; what could not be written stays noted.  Raises StoreUnavailable."""
        self._some.clear()
        while self._noted:
            batch = [self._noted.popitem(last=False) for _ in range(min(BATCH, len(self._noted)))]
            try:
                await self._compare(batch)
            except BaseException:
                for key, evidence in batch:
                    self._noted.setdefault(key, evidence)
                self._some.set()
                raise

    async def _compare(self, batch: Sequence[tuple[tuple[str, str], Evidence]]) -> None:
        known = await self._store.known([key for key, _ in batch])
        changes = []
        for key, evidence in batch:
            before = known.get(key)
            after, events = observe(before, key, seen(evidence), evidence.gathered_at)
            if after is not None and after != before:
                changes.append(HistoryChange(before, after, tuple(events)))
        if changes:
            for event in await self._store.record(changes):
                self._heard(event)
