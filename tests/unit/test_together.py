"""store/together: many look-ups, few readings."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from sealroute.store.together import MOST, Together


class Shelf:
    def __init__(self) -> None:
        self.has: dict[str, int] = {}
        self.readings: list[list[str]] = []
        self.broken: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.readings.append(list(keys))
        found = {key: self.has[key] for key in keys if key in self.has}
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        return found


async def test_what_is_asked_at_the_same_time_is_one_reading() -> None:
    shelf = Shelf()
    shelf.has = {"a": 1, "c": 3}
    together = Together(shelf.read)
    assert await asyncio.gather(*map(together.get, "abcaa")) == [1, None, 3, 1, 1]
    assert shelf.readings == [["a", "b", "c"]]


async def test_who_comes_during_a_reading_gets_one_that_begins_later() -> None:
    shelf = Shelf()
    together = Together(shelf.read)
    shelf.gate.clear()
    first = asyncio.ensure_future(together.get("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    shelf.has["a"] = 7  # written after the first reading had looked
    second = asyncio.ensure_future(together.get("a"))
    await asyncio.sleep(0)
    shelf.gate.set()
    assert list(await asyncio.gather(first, second)) == [None, 7]
    assert shelf.readings == [["a"], ["a"]]


async def test_a_reading_is_bounded() -> None:
    shelf = Shelf()
    together = Together(shelf.read)
    await asyncio.gather(*(together.get(str(number)) for number in range(2 * MOST + 1)))
    assert [len(keys) for keys in shelf.readings] == [MOST, MOST, 1]


async def test_a_failure_is_everybodys_and_not_the_next_readings() -> None:
    shelf = Shelf()
    shelf.has["a"] = 1
    together = Together(shelf.read)
    shelf.broken = OSError("gone")
    outcomes = await asyncio.gather(together.get("a"), together.get("b"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["gone", "gone"]
    shelf.broken = None
    assert await together.get("a") == 1


async def test_a_caller_that_gives_up_takes_nothing_from_the_others() -> None:
    shelf = Shelf()
    shelf.has = {"a": 1}
    together = Together(shelf.read)
    shelf.gate.clear()
    impatient, patient = (asyncio.ensure_future(together.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    shelf.gate.set()
    assert await patient == 1


async def test_nobody_waits_on_when_the_reading_is_cancelled() -> None:
    shelf = Shelf()
    together = Together(shelf.read)
    shelf.gate.clear()
    first = asyncio.ensure_future(together.get("a"))
    while not shelf.readings:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(together.get("b"))
    await asyncio.sleep(0)
    assert together._reading is not None
    together._reading.cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
