"""Where the event loop and the store's writer run: on one processor while there is much to do.

The two hold Python's interpreter in turns.  On two processors every turn moves what both touch (nearly everything: each object
counts its references) from one processor's cache to the other's, which costs a sixth of the time and gains nothing, since they
could not run at once anyway.

Rules:

* The system chooses the processor: the two stay where it has put the loop, and are let go when there is little to do.
* Never worse than free: when the loop waits for its processor longer than it did before it was bound, it is let go for a while,
  and the system may put it elsewhere.
* All other threads, look-ups and password hashing above all, run wherever they may, also those that a bound thread started.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from sealroute.store.writer import THREAD_NAME

log = structlog.get_logger("sealroute")

INTERVAL_SECONDS = 0.5
BUSY = 0.3
"""The loop is busy when it ran or waited for a processor for this part of an interval."""
TOLERATED = 0.2
"""How much more of an interval a bound loop may wait than a free one did."""
PAUSE_INTERVALS = 20
"""How long it stays free after it had to wait too long."""
_TASKS = Path("/proc/self/task")


@dataclass(slots=True)
class Binding:
    """Whether to be bound in the next interval, from what the last one was like.  Shares of an interval, 0 to 1."""

    bound: bool = False
    free_waited: float = 0.0
    """What the loop waited in the last interval in which it was free."""
    pause: int = 0

    def next(self, ran: float, waited: float) -> bool:
        """`waited`: ready to run and not running, without the time in which its partner had the processor."""
        busy = ran + waited >= BUSY
        if not self.bound:
            self.free_waited = waited
            self.pause = max(0, self.pause - 1)
            self.bound = busy and not self.pause
        elif not busy:
            self.bound = False
        elif waited > self.free_waited + TOLERATED:
            self.bound = False
            self.pause = PAUSE_INTERVALS
        return self.bound


class Seat:
    """Binds and lets go the threads of this process; made and run in the event loop's thread."""

    def __init__(self) -> None:
        self._loop = threading.get_native_id()
        self._allowed = os.sched_getaffinity(0)
        self._binding = Binding()
        self._last = (0, 0, 0)
        """Nanoseconds: the loop ran, the loop waited, its partner ran."""
        self._measure(INTERVAL_SECONDS)

    def __repr__(self) -> str:
        return f"<Seat {'taken' if self._binding.bound else 'free'}>"

    async def work(self) -> None:
        """Look every INTERVAL_SECONDS, until cancelled; then everything is free again."""
        clock = asyncio.get_running_loop().time
        try:
            last = clock()
            while True:
                await asyncio.sleep(INTERVAL_SECONDS)
                now = clock()
                self.look(now - last)
                last = now
        except OSError as error:
            log.info("threads are left to the system, which does not let them be bound", error=str(error))
        finally:
            with suppress(OSError):
                self._place(None)

    def look(self, seconds: float) -> None:
        """Once, `seconds` after the last time.  Raises OSError."""
        was = self._binding.bound
        ran, waited = self._measure(seconds)
        if self._binding.next(ran, waited):
            self._place(next(iter(os.sched_getaffinity(self._loop))) if was else _processor(self._loop))
        elif was:
            self._place(None)

    def _measure(self, seconds: float) -> tuple[float, float]:
        ran, waited = _schedule_of(self._loop)
        partner = self._partner()
        beside = 0 if partner is None else _schedule_of(partner)[0]
        before, self._last = self._last, (ran, waited, beside)
        whole = seconds * 1e9
        alone = (waited - before[1]) - (beside - before[2] if self._binding.bound else 0)
        return (ran - before[0]) / whole, max(0.0, alone / whole)

    def _partner(self) -> int | None:
        return next((thread.native_id for thread in threading.enumerate() if thread.name == THREAD_NAME), None)

    def _place(self, processor: int | None) -> None:
        """The two on one processor; None: wherever they may run.  All other threads are free either way."""
        together = (self._loop, self._partner())
        for task in map(int, os.listdir(_TASKS)):
            wanted = self._allowed if processor is None or task not in together else {processor}
            with suppress(ProcessLookupError):  # it ended meanwhile
                if os.sched_getaffinity(task) != wanted:
                    os.sched_setaffinity(task, wanted)


@asynccontextmanager
async def seated(*, wanted: bool) -> AsyncIterator[None]:
    """Inside, the event loop and the store's writer share a processor while busy, where that is wanted and possible."""
    task = asyncio.create_task(Seat().work(), name="seat") if wanted and possible() else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def possible() -> bool:
    """Whether this system tells how long threads wait, lets them be bound, and has more than one processor for us."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return False
    return (_TASKS / str(threading.get_native_id()) / "schedstat").exists()


def _schedule_of(thread: int) -> tuple[int, int]:
    """Nanoseconds it ran, and nanoseconds it was ready and waited for a processor."""
    ran, waited, _ = (_TASKS / str(thread) / "schedstat").read_text().split()
    return int(ran), int(waited)


def _processor(thread: int) -> int:
    """Where it runs, or ran last: field 39 of proc(5)'s stat."""
    return int((_TASKS / str(thread) / "stat").read_text().rpartition(")")[2].split()[36])
