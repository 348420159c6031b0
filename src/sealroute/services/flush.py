"""flush: write behind, beside the mail: what was noted in memory goes to the store in batches, as long as the gateway runs.

A write that fails is tried again a little later; what it held stays noted.  Whoever notes sets the event, and whoever flushes
clears it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from sealroute.base.errors import StoreUnavailable

log = structlog.get_logger("sealroute.flush")
RETRY_SECONDS = 5.0


async def keep_flushing(
    some: asyncio.Event, flush: Callable[[], Awaitable[None]], gather_seconds: float, what: str
) -> None:  # fmt: skip
    """Flush `gather_seconds` after something was noted, for ever; `what` names it in the log when it cannot be written."""
    while True:
        await some.wait()
        await asyncio.sleep(gather_seconds)
        try:
            await flush()
        except StoreUnavailable as error:
            log.warning(f"{what} could not be written", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
