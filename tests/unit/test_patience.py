"""Time-outs that do not count how long our own event loop was late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from sealroute.net.patience import LATE_SECONDS, PARTS, Countdown, Punctuality, patience
from tests.busy import busy_loop

Factory = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
ROUNDS = PARTS // 2


async def a_prompt_peer() -> None:
    """Answers each of many questions at once; every one costs a round of the loop or two."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


@LOOPS
def test_a_prompt_peer_is_in_time_however_late_the_loop_is(factory: Factory) -> None:
    async def busy() -> None:
        with busy_loop(0.02):
            async with patience(0.2):  # a fifth of what the rounds take
                await a_prompt_peer()

    with asyncio.Runner(loop_factory=factory) as runner:
        started = time.monotonic()
        runner.run(busy())
        assert time.monotonic() - started > 0.2, "the loop was late, or nothing was tried"


@LOOPS
def test_a_silent_peer_is_given_up_in_the_end_although_the_loop_is_late(factory: Factory) -> None:
    async def busy() -> None:
        with busy_loop(0.002), pytest.raises(TimeoutError):
            async with patience(0.05):
                await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(busy())


async def test_with_a_loop_that_is_on_time_it_is_a_time_out_like_any_other() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patience(0.3):
            await asyncio.Event().wait()
    assert time.monotonic() - started >= 0.29


async def test_what_was_in_time_is_not_given_up_later() -> None:
    async with patience(0.05):
        pass
    with pytest.raises(ValueError, match="of its own"):
        async with patience(0.05):
            raise ValueError("of its own")
    await asyncio.sleep(0.2)


async def test_who_is_cancelled_is_cancelled_and_not_timed_out() -> None:
    async def patient() -> None:
        async with patience(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(patient())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_countdown_is_over_once_and_says_what_is_left() -> None:
    calls: list[str] = []
    countdown = Countdown(0.1, lambda: calls.append("over"))
    assert repr(countdown) == "<Countdown, 0.1 s left>"
    await asyncio.sleep(0.5)
    countdown.cancel()
    cancelled = Countdown(0.01, lambda: calls.append("cancelled"))
    cancelled.cancel()
    await asyncio.sleep(0.1)
    assert calls == ["over"]


@LOOPS
@pytest.mark.parametrize(("round_seconds", "late"), [(0.0, False), (3 * LATE_SECONDS, True)], ids=["on time", "late"])
def test_it_is_noticed_when_the_loop_was_late(factory: Factory, round_seconds: float, late: bool) -> None:
    async def wait() -> bool:
        punctuality = Punctuality()
        if round_seconds:
            time.sleep(round_seconds)
        await asyncio.sleep(0.01)  # both loops look at the clock anew
        punctuality.cancel()
        return punctuality.late

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(wait()) is late
