"""What the running gateway does to the store beside the mail: keeps its lease, and removes what is old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from sealroute.base.errors import SealrouteError
from sealroute.ports import Clock
from sealroute.settings import Settings
from sealroute.store.store import Store

log = structlog.get_logger("sealroute")

PURGE_EVERY = timedelta(hours=1)


async def renew_lease(settings: Settings, store: Store, clock: Clock, nudge: Callable[[], None]) -> None:
    """Say that this node lives; what is taken over from a silent one is told by `nudge`."""
    while True:
        await asyncio.sleep(settings.store.lease_seconds / 3)
        try:
            recovered = await store.queue.renew_node(clock.now())
        except SealrouteError as error:
            log.error("the lease could not be renewed", error=str(error))
            continue
        if recovered:
            log.warning("took over from a silent node", groups=recovered)
            nudge()


async def purge(settings: Settings, store: Store, clock: Clock) -> None:
    """Remove what is older than the trace is kept."""
    keep = timedelta(days=settings.trace.retention_days)
    admin = store.admin
    aging = (admin.traces, admin.drift, admin.alerts, admin.observations, admin.watched, admin.destinations)
    while True:
        try:
            for records in aging:
                await asyncio.to_thread(records.purge, clock.now() - keep)
            await asyncio.to_thread(admin.queue.sweep)
        except SealrouteError as error:
            log.error("old records could not be removed", error=str(error))
        await asyncio.sleep(PURGE_EVERY.total_seconds())
