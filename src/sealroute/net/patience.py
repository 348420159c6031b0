"""patience: time-outs that count a peer's time, and not ours.

A time-out by the clock also counts how long our event loop was at work on other mail, or the machine on other programs; a
peer that answered at once has then failed all the same.  That is more than slow: an MTA-STS policy that could not be fetched
does not apply, nor does one whose TXT record nobody could read, so our own congestion would weaken mail [RFC 8461 §5.1].

So the time is counted in `PARTS` steps, each begun only when the loop has come round after the one before.  However late the
loop is, a step counts as its length and no more: a prompt peer fails only if it takes more than `PARTS` rounds of the loop,
and a fetch takes about twenty.  With a loop that is on time this is a time-out like any other.  It always ends, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

PARTS = 100
LATE_SECONDS = 0.5


class Countdown:
    """Calls `over` once so much time was spent waiting for others; `cancel` it when they are done."""

    __slots__ = ("_left", "_loop", "_over", "_step_seconds", "_timer")

    def __init__(self, seconds: float, over: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._step_seconds = seconds / PARTS
        self._left = PARTS
        self._over = over
        self._timer = self._loop.call_later(self._step_seconds, self._step)

    def __repr__(self) -> str:
        return f"<Countdown, {self._left * self._step_seconds:g} s left>"

    def cancel(self) -> None:
        self._timer.cancel()

    def _step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._step_seconds, self._step)
        else:
            self._over()


class Punctuality:
    """Whether the loop has been late while something else kept the time; `cancel` it at the end."""

    __slots__ = ("_loop", "_timer", "late")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.late = False
        """The loop did not come round for more than LATE_SECONDS."""
        self._timer = self._loop.call_later(LATE_SECONDS, self._tick)

    def __repr__(self) -> str:
        return f"<Punctuality, {'late' if self.late else 'on time'}>"

    def cancel(self) -> None:
        self._look()
        self._timer.cancel()

    def _look(self) -> None:
        self.late = self.late or self._loop.time() - self._timer.when() > LATE_SECONDS

    def _tick(self) -> None:
        self._look()
        self._timer = self._loop.call_later(LATE_SECONDS, self._tick)


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """`asyncio.timeout` that counts like this: TimeoutError comes out of the block when it has taken too long."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        countdown = Countdown(seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            countdown.cancel()
