"""schedule: which group is worked on when, and how many at once.

Groups come from two sides: handed over in memory right after their commit, or taken from the queue when due.  Each
destination has a lane of its own (services/lanes), so one that is slow, dead or limited in its rate holds up nobody else.  A
run's result is settled durably by one commit; only then is the group gone from memory.  On shutdown runs under way are
finished, the rest is given back to the queue.

The bounds: groups and message bytes in memory, runs at once in all; groups and runs per lane.  What has no room stays in the
queue, where it is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sealroute.base.errors import SealrouteError
from sealroute.base.mail import Message
from sealroute.policy.connector import Connector
from sealroute.policy.pace import BROKEN_OFF, Heard, heard
from sealroute.ports import Clock, Group, Queue, Settled
from sealroute.services.destinations import Destinations
from sealroute.services.give_back import GiveBack
from sealroute.services.lane import Job, Lane, LaneLimits
from sealroute.services.lanes import Lanes

BROKEN_RUN_WAIT = timedelta(minutes=1)
LONGEST_SETTLE_WAIT_SECONDS = 60.0
STORE_GRACE_SECONDS = 5.0
ConnectorOf = Callable[[str, str], Connector]
"""The connector that applies to (organisation, domain)."""


class Runner(Protocol):
    """services/deliver, as schedule needs it."""

    async def run(self, group: Group, message: Message) -> Settled: ...


class Watcher(Protocol):
    """Something that reads what was settled: metrics, logs."""

    def settled(self, message: Message, settled: Settled) -> None: ...
    def trouble(self, what: str, error: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class ScheduleLimits:
    """Bounds of the work in memory."""

    groups: int = 5_000
    content_bytes: int = 256 * 1024 * 1024
    """Of messages handed over and waiting; of messages that runs have loaded, once more as much."""
    runs: int = 1_000
    connections: int = 500
    """That runs may have open in all."""
    runs_per_destination: int = 20
    groups_per_destination: int = 2_500
    messages_per_minute_per_destination: int = 0
    """0: no limit."""
    workers: int = 1
    """Among which a connector's own limits are shared; the limits here are this worker's already."""
    take_at_once: int = 500
    loads: int = 16
    """Messages read from the store at once."""
    poll_seconds: float = 1.0
    """How soon a change made from outside (the CLI, another node) is seen."""
    settle_retry_seconds: float = 1.0
    """Doubled at every failure, up to a minute."""


class Schedule:
    """The work of one node."""

    def __init__(
        self, queue: Queue, deliver: Runner, clock: Clock, watcher: Watcher,
        limits: ScheduleLimits | None = None, connector: ConnectorOf | None = None,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._deliver = deliver
        self._clock = clock
        self._watcher = watcher
        self._limits = limits = limits or ScheduleLimits()
        self.destinations = Destinations()
        self._lanes = Lanes(_lane_limits(limits), self.destinations, connector)
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at: datetime | None = None
        """When a lane that lacks a token can go on."""
        self._running = 0
        self._groups = 0
        self._bytes = 0
        self._working_bytes = 0
        self._tasks: dict[asyncio.Task[None], Job | None] = {}
        self._wake = asyncio.Event()
        self._loading = asyncio.Semaphore(limits.loads)
        self._freed = asyncio.Event()
        self._back = GiveBack(queue, watcher.trouble)
        self._crowded = False
        """The last look at the queue was cut short for lack of room."""
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Schedule {self._groups} groups in {len(self._lanes)} lanes, {self._running} running>"

    @property
    def in_memory(self) -> int:
        """Groups this node works on."""
        return self._groups

    @property
    def parked(self) -> int:
        """Lanes that wait for a token of a rate limit."""
        return self._lanes.rates.parked

    @property
    def bytes_in_memory(self) -> int:
        """Message content held for them; a message counts once for each of its groups."""
        return self._bytes

    # --------------------------------------------------------------------------------------------- from acceptance

    def room(self, groups: int = 1, content_bytes: int = 0) -> bool:
        """Whether a message may be handed over after its commit; if not it waits in the queue."""
        limits = self._limits
        return (
            not self._stopping
            and self._groups + groups <= limits.groups
            and self._bytes + content_bytes <= limits.content_bytes
        )

    def handover(self, message: Message, groups: Sequence[Group]) -> bool:
        """Take over what was just stored as ACTIVE for this node; False when we are stopping and it must be given back."""
        if self._stopping:
            return False
        size = message.size_bytes
        surplus = [job for job in (Job(group, message, size) for group in groups) if not self._enqueue(job)]
        if surplus:
            self._spawn(self._back.at(self._times(surplus)), None)
        self._start()
        return True

    def nudge(self) -> None:
        """Look at the queue now: something was added or made due."""
        self._wake.set()

    # -------------------------------------------------------------------------------------------------- from the queue

    async def work(self) -> None:
        """Take due groups until stopped; every trouble of the store is reported and waited out."""
        while not self._stopping:
            self._wake.clear()  # before looking: what is added from now on wakes us again
            try:
                await self._back.owed()
                if await self._take() < self._limits.take_at_once:
                    await self._pause(await self._queue.next_due())
            except SealrouteError as error:
                self._watcher.trouble("the queue could not be read", error)
                await self._pause(None)

    async def _take(self) -> int:
        room = min(self._limits.groups - self._groups, self._limits.take_at_once)
        self._crowded = room < self._limits.take_at_once
        if room <= 0:
            return 0
        now = self._clock.now()
        groups = await self._queue.take_due(now, room, room=self._lanes.room(room, now))
        if self._stopping:
            await self._back.now([group.id for group in groups])
            return 0
        surplus = [job for job in (Job(group, None) for group in groups) if not self._enqueue(job)]
        times = self._times(surplus)
        self._start()
        await self._back.at(times)
        return len(groups)

    def _times(self, surplus: Sequence[Job]) -> Mapping[datetime | None, list[str]]:
        """When what has no room here should come back, together what comes back together."""
        times: dict[datetime | None, list[str]] = {}
        for job in surplus:
            times.setdefault(self._lanes.put_off(job, self._clock.now()), []).append(job.group.id)
        return times

    async def _pause(self, due: datetime | None) -> None:
        """Until something is due, a nudge, or the poll interval, whichever comes first."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
        # What is due already and was not taken has no room here: only time or a finished run can change that.
        if due is not None and due > self._clock.now():
            waits.append(asyncio.ensure_future(self._clock.sleep_until(due)))
        try:
            await asyncio.wait(waits, timeout=self._limits.poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # ------------------------------------------------------------------------------------------------------ the runs

    def _enqueue(self, job: Job) -> bool:
        if not self._lanes.add(job, self._clock.now()):
            self._start()  # what can run makes room
            if not self._lanes.add(job, self._clock.now()):
                return False
        self._groups += 1
        self._bytes += job.size_bytes
        return True

    def _start(self) -> None:
        """Start runs while there is something to start and room to run."""
        while self._running < self._limits.runs and not self._stopping:
            turn = self._lanes.next(self._clock.now())
            if turn is None:
                break
            self._running += 1
            lane, job = turn
            self._spawn(self._work_on(lane, job), job)
        # With all runs in use the next one that ends comes here.
        if self._lanes.rates.due is not None and self._running < self._limits.runs:
            self._set_alarm(self._lanes.rates.due)

    def _set_alarm(self, due: datetime) -> None:
        """Look again when the next token is due."""
        if self._stopping or (self._alarm_at is not None and self._alarm_at <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = asyncio.get_running_loop().create_task(self._ring(due))

    async def _ring(self, due: datetime) -> None:
        await self._clock.sleep_until(due)
        self._alarm = self._alarm_at = None
        self._start()

    def _spawn(self, work: Coroutine[Any, Any, None], job: Job | None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = job
        task.add_done_callback(self._tasks.pop)

    async def _work_on(self, lane: Lane, job: Job) -> None:
        """One run; its place is free for the next before its result is committed."""
        settled: Settled | None = None
        told: Heard | None = None
        cancelled = False
        self._working_bytes += job.size_bytes
        try:
            settled = await self._run(job)
            told = None if settled is None else heard(settled.fates, settled.attempts)
        except asyncio.CancelledError:
            cancelled = True  # stop() waited long enough: the group is given back below
        except Exception as error:
            told = BROKEN_OFF
            self._watcher.trouble(f"the run of group {job.group.id} to {job.group.domain} broke off", error)
        job.settling = True
        self._running -= 1
        if self._lanes.leave(lane, told, self._clock.now()):
            self._wake.set()
        self._start()
        try:
            if settled is not None and job.message is not None:
                await self._settle(job.message, settled)
            else:
                not_before = None if cancelled else self._clock.now() + BROKEN_RUN_WAIT
                await self._back.now([job.group.id], not_before)
        finally:
            self._forget(job)

    async def _run(self, job: Job) -> Settled | None:
        if job.message is None:
            await self._load(job)
        return None if job.message is None else await self._deliver.run(job.group, job.message)

    async def _load(self, job: Job) -> None:
        """Read the content; few at once, and none while the runs under way hold too much."""
        async with self._loading:
            while self._working_bytes >= self._limits.content_bytes:
                self._freed.clear()
                await self._freed.wait()
            job.message = await self._queue.message(job.group.message_id)
        if job.message is None:
            error = SealrouteError(f"message {job.group.message_id} of group {job.group.id}")
            self._watcher.trouble("a queued message has no content", error)
            return
        job.size_bytes = job.message.size_bytes
        self._bytes += job.size_bytes
        self._working_bytes += job.size_bytes

    async def _settle(self, message: Message, settled: Settled) -> None:
        """Make the result durable; every trouble is waited out, for a delivered message must not go twice."""
        wait = self._limits.settle_retry_seconds
        while True:
            try:
                await self._queue.settle(settled)
                break
            except Exception as error:
                self._watcher.trouble(f"the result of group {settled.group.id} could not be stored; trying again", error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_SETTLE_WAIT_SECONDS)
        self._watcher.settled(message, settled)
        if settled.notices:
            self.nudge()

    def _forget(self, job: Job) -> None:
        self._groups -= 1
        self._bytes -= job.size_bytes
        self._working_bytes -= job.size_bytes
        self._freed.set()
        if self._crowded and self._groups <= self._limits.groups // 2:
            self._wake.set()

    # --------------------------------------------------------------------------------------------------- the end

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Finish the runs under way, give everything else back."""
        self._stopping = True
        self._wake.set()
        if self._alarm is not None:
            self._alarm.cancel()
        waiting = self._lanes.clear()
        self._groups -= len(waiting)
        self._bytes -= sum(job.size_bytes for job in waiting)
        await self._back.now([job.group.id for job in waiting])
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace_seconds)
        for task, job in list(self._tasks.items()):
            if job is not None and not job.settling:
                task.cancel()
        # What was done must still be written down, what was not given back: that is the store's time, not the peers'.
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=STORE_GRACE_SECONDS)
        late = list(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._back.owed()
        except SealrouteError as error:
            self._watcher.trouble("groups could not be given back; they come back when this node starts again", error)


def _lane_limits(limits: ScheduleLimits) -> LaneLimits:
    return LaneLimits(
        runs=limits.runs_per_destination,
        groups=limits.groups_per_destination,
        all_runs=min(limits.runs, limits.connections),
        all_groups=limits.groups,
        per_minute=limits.messages_per_minute_per_destination,
        workers=limits.workers,
    )
