"""give_back: groups that are not worked on here go back to the queue, due at their old time or later.

While the store is away they are kept in mind; the bound is that of the groups in memory, where they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sealroute.base.errors import SealrouteError
from sealroute.ports import Queue


class GiveBack:
    """What goes back, and what the store would not take back yet."""

    def __init__(self, queue: Queue, trouble: Callable[[str, BaseException], None]) -> None:
        self._queue = queue
        self._trouble = trouble
        self._owed: list[tuple[tuple[str, ...], datetime | None]] = []

    def __repr__(self) -> str:
        return f"<GiveBack, {sum(len(group_ids) for group_ids, _ in self._owed)} groups owed>"

    async def now(self, group_ids: Sequence[str], not_before: datetime | None = None) -> None:
        """Give groups back; what the store does not take is kept in mind for `owed`."""
        if not group_ids:
            return
        try:
            await self._queue.release(group_ids, not_before=not_before)
        except SealrouteError as error:
            self._owed.append((tuple(group_ids), not_before))
            self._trouble(f"{len(group_ids)} groups could not be given back; trying again", error)

    async def at(self, times: Mapping[datetime | None, Sequence[str]]) -> None:
        """The same for groups by the time from which on they are due."""
        await asyncio.gather(*(self.now(group_ids, not_before) for not_before, group_ids in times.items()))

    async def owed(self) -> None:
        """Try again.  Raises what the store raises; what it did not take is still owed."""
        while self._owed:
            group_ids, not_before = self._owed[0]
            await self._queue.release(group_ids, not_before=not_before)
            self._owed.pop(0)
