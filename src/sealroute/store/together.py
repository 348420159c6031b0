"""Look-ups by key, of which one reading serves as many as have come since the last began.

A reading costs a change of threads and a transaction, whether it is for one key or for a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

V = TypeVar("V")
MOST = 200
"""Keys in one reading."""


class Together(Generic[V]):
    """`get` for single keys, over a `read` for several; used from one event loop."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, V]]]) -> None:
        self._read = read
        self._wanted: dict[str, list[asyncio.Future[V | None]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: str) -> V | None:
        """What a reading that begins after this call has for the key, None for nothing; raises what the reading raises."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(key, []).append(future)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on())
        return await future

    async def _read_on(self) -> None:
        """One reading after the other while any is wanted; raises only what ends the program, and then nobody waits on."""
        try:
            while self._wanted:
                keys = list(self._wanted)[:MOST]
                waiting = [(key, future) for key in keys for future in self._wanted.pop(key)]
                try:
                    found = await self._read(keys)
                except BaseException as error:
                    for _, future in waiting:
                        if not future.done():
                            future.set_exception(error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    for key, future in waiting:
                        if not future.done():
                            future.set_result(found.get(key))
        finally:
            self._reading = None
            for future in (future for futures in self._wanted.values() for future in futures):
                future.cancel()
            self._wanted.clear()
