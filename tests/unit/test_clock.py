"""The queue's clock, at the wall's speed and faster."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sealroute.net.clock import SystemClock


def test_at_the_walls_speed_it_is_the_wall() -> None:
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)
    assert repr(SystemClock()) == "<SystemClock at 1 times the wall's speed>"


def test_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: seconds)
    clock = SystemClock(3600.0)
    start = clock.now()
    seconds += 2.0
    assert clock.now() - start == timedelta(hours=2)


async def test_sleeping_follows_the_queues_time() -> None:
    clock = SystemClock(36_000.0)
    moment = clock.now() + timedelta(minutes=10)
    async with asyncio.timeout(5):
        await clock.sleep_until(moment)
    assert clock.now() >= moment
    await clock.sleep_until(moment)  # past already


async def test_long_sleeps_look_at_the_time_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SystemClock()
    start, passed = clock.now(), timedelta()

    async def sleep(seconds: float) -> None:
        nonlocal passed
        slept.append(seconds)
        passed += timedelta(seconds=seconds)

    monkeypatch.setattr(clock, "now", lambda: start + passed)
    monkeypatch.setattr("asyncio.sleep", sleep)
    await clock.sleep_until(start + timedelta(seconds=150))
    assert slept == [60.0, 60.0, 30.0]
