"""The census: a short queue is counted when asked, a long one behind the question."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from sealroute.base.errors import StoreUnavailable
from sealroute.ports import GroupState, Queue
from sealroute.services.census import QUICK_SECONDS, Census
from tests.unit.fakes import NOW, FakeClock


class Counted:
    """A queue whose groups are a number, and whose count takes so long."""

    def __init__(self, groups: int, seconds: float) -> None:
        self.groups = groups
        self.seconds = seconds
        self.counts = 0
        self.time = 0.0
        self.gate: asyncio.Event | None = None
        self.down = False

    async def oldest(self) -> Any:
        return NOW - timedelta(minutes=5) if self.groups else None

    async def depth(self) -> Mapping[GroupState, int]:
        self.counts += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise StoreUnavailable("the disk is full")
        self.time += self.seconds
        return dict.fromkeys(GroupState, 0) | {GroupState.QUEUED: self.groups}


def census_of(queue: Counted) -> Census:
    return Census(cast(Queue, queue), FakeClock(), lambda: queue.time)


async def queued(census: Census) -> int:
    return (await census.look()).depth[GroupState.QUEUED]


async def test_a_short_queue_is_counted_for_whoever_asks() -> None:
    queue = Counted(7, QUICK_SECONDS)
    census = census_of(queue)
    assert await queued(census) == 7
    queue.groups = 8
    assert await queued(census) == 8
    assert (await census.look()).oldest_age_seconds == 300


async def test_a_long_queue_is_not_counted_for_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Counted(1_000_000, 0.06)
    census = census_of(queue)
    assert [await queued(census) for _ in range(50)] == [1_000_000] * 50
    assert queue.counts == 1


async def test_a_long_queue_is_counted_by_itself_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        queue.groups += 1
        if len(waits) == 4:
            queue.groups, queue.seconds = 3, 0.0001
        if len(waits) == 6:
            raise asyncio.CancelledError

    queue = Counted(1_000_000, 0.06)
    census = census_of(queue)
    await census.look()
    monkeypatch.setattr("sealroute.services.census.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await census.keep()
    assert [round(wait, 3) for wait in waits] == [6.0, 6.0, 6.0, 6.0, 1.0, 1.0]
    assert queue.counts == 5  # the first, three, and the one that found it short; from then on it is counted when asked
    assert await queued(census) == 5


async def test_two_that_ask_at_once_share_a_count() -> None:
    queue = Counted(7, 0.0)
    queue.gate = asyncio.Event()
    census = census_of(queue)
    looks = [asyncio.ensure_future(queued(census)) for _ in range(3)]
    await asyncio.sleep(0)
    queue.gate.set()
    assert await asyncio.gather(*looks) == [7, 7, 7]
    assert queue.counts == 1


async def test_who_asks_hears_that_the_store_is_away_and_counting_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Counted(7, 0.06)
    census = census_of(queue)
    queue.down = True
    with pytest.raises(StoreUnavailable):
        await census.look()
    queue.down = False
    assert await queued(census) == 7
    queue.down = True
    turns = iter([None, None])

    async def sleep(seconds: float) -> None:
        if next(turns, "over") is not None:
            raise asyncio.CancelledError

    monkeypatch.setattr("sealroute.services.census.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await census.keep()
    assert queue.counts == 4
