"""schedule: which group is worked on when, and how many at once.

Groups come from two sides: handed over in memory right after their commit, or taken from the queue when due.  Each
destination has a lane with its own bound on parallel runs, so a slow or dead one holds up nobody else.  A run's result is
settled durably by one commit; only then is the group gone from memory.  On shutdown runs under way are finished, the rest
is given back to the queue.

The bounds: groups in memory, message bytes in memory, runs at once in all and per lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from sealroute.base.errors import SealrouteError
from sealroute.base.mail import Message
from sealroute.ports import Clock, Group, Queue, Settled

BROKEN_RUN_WAIT = timedelta(minutes=1)


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
    runs: int = 1_000
    runs_per_destination: int = 20
    take_at_once: int = 500
    poll_seconds: float = 1.0
    """How soon a change made from outside (the CLI, another node) is seen."""
    settle_retry_seconds: float = 1.0


@dataclass(slots=True)
class _Job:
    group: Group
    message: Message | None
    """None when the content is still in the store."""


class _Lane:
    """One destination's jobs."""

    __slots__ = ("domain", "jobs", "running")

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.jobs: deque[_Job] = deque()
        self.running = 0


class Schedule:
    """The work of one node."""

    def __init__(
        self, queue: Queue, deliver: Runner, clock: Clock, watcher: Watcher, limits: ScheduleLimits | None = None
    ) -> None:
        self._queue = queue
        self._deliver = deliver
        self._clock = clock
        self._watcher = watcher
        self._limits = limits or ScheduleLimits()
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._running = 0
        self._groups = 0
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Schedule {self._groups} groups in {len(self._lanes)} lanes, {self._running} running>"

    @property
    def in_memory(self) -> int:
        """Groups this node works on."""
        return self._groups

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
        for group in groups:
            self._enqueue(_Job(group, message))
        self._start()
        return True

    def nudge(self) -> None:
        """Look at the queue now: something was added or made due."""
        self._wake.set()

    # -------------------------------------------------------------------------------------------------- from the queue

    async def work(self) -> None:
        """Take due groups until stopped; every trouble of the store is reported and waited out."""
        while not self._stopping:
            taken = 0
            try:
                taken = await self._take()
            except SealrouteError as error:
                self._watcher.trouble("the queue could not be read", error)
            if taken < self._limits.take_at_once:
                await self._pause()

    async def _take(self) -> int:
        room = min(self._limits.groups - self._groups, self._limits.take_at_once)
        if room <= 0:
            return 0
        groups = await self._queue.take_due(self._clock.now(), room)
        if self._stopping:
            await self._queue.release([group.id for group in groups])
            return 0
        for group in groups:
            self._enqueue(_Job(group, None))
        self._start()
        return len(groups)

    async def _pause(self) -> None:
        """Until something is due, a nudge, or the poll interval, whichever comes first."""
        self._wake.clear()
        poll = asyncio.ensure_future(self._wake.wait())
        try:
            due = await self._queue.next_due()
            until = self._clock.now() + timedelta(seconds=3600) if due is None else due
            due_task = asyncio.ensure_future(self._clock.sleep_until(until))
            await asyncio.wait({poll, due_task}, timeout=self._limits.poll_seconds, return_when=asyncio.FIRST_COMPLETED)
            due_task.cancel()
        except SealrouteError as error:
            self._watcher.trouble("the queue could not be read", error)
            await asyncio.sleep(self._limits.poll_seconds)
        finally:
            poll.cancel()

    # --------------------------------------------------------------------------------------------------- the lanes

    def _enqueue(self, job: _Job) -> None:
        domain = job.group.domain
        lane = self._lanes.get(domain)
        if lane is None:
            lane = self._lanes[domain] = _Lane(domain)
        if not lane.jobs and lane.running < self._limits.runs_per_destination:
            self._ready.append(lane)
        lane.jobs.append(job)
        self._groups += 1
        self._bytes += job.message.size_bytes if job.message is not None else 0

    def _start(self) -> None:
        """Start runs while there is something to start and room to run; lanes take turns."""
        while self._ready and self._running < self._limits.runs:
            lane = self._ready.popleft()
            if not lane.jobs or lane.running >= self._limits.runs_per_destination:
                continue
            job = lane.jobs.popleft()
            lane.running += 1
            self._running += 1
            if lane.jobs and lane.running < self._limits.runs_per_destination:
                self._ready.append(lane)
            task = asyncio.ensure_future(self._work_on(lane, job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work_on(self, lane: _Lane, job: _Job) -> None:
        """One lane slot: jobs one after the other; the slot is given up before a result is committed."""
        message = job.message
        settled: Settled | None = None
        try:
            if message is None:
                message = await self._load(job)
            if message is not None:
                settled = await self._deliver.run(job.group, message)
        except Exception as error:
            self._watcher.trouble(f"the run of group {job.group.id} to {job.group.domain} broke off", error)
        finally:
            lane.running -= 1
            self._running -= 1
            if lane.jobs:
                self._ready.append(lane)
            elif lane.running == 0:
                self._lanes.pop(lane.domain, None)
            if not self._stopping:
                self._start()
        try:
            if settled is not None and message is not None:
                await self._settle(message, settled)
            else:
                await self._give_back(job)
        finally:
            self._groups -= 1
            self._bytes -= job.message.size_bytes if job.message is not None else 0

    async def _load(self, job: _Job) -> Message | None:
        message = await self._queue.message(job.group.message_id)
        if message is None:
            self._watcher.trouble("a queued message has no content", SealrouteError(job.group.message_id))
        return message

    async def _settle(self, message: Message, settled: Settled) -> None:
        """Make the result durable; the store's trouble is waited out, for a delivered message must not go twice."""
        while True:
            try:
                await self._queue.settle(settled)
                break
            except SealrouteError as error:
                self._watcher.trouble("a result could not be stored; trying again", error)
                await asyncio.sleep(self._limits.settle_retry_seconds)
        self._watcher.settled(message, settled)
        if settled.notices:
            self.nudge()

    async def _give_back(self, job: _Job) -> None:
        """The run broke off through a fault of ours: the group waits its turn again, a minute later."""
        try:
            not_before = self._clock.now() + BROKEN_RUN_WAIT
            await self._queue.release([job.group.id], not_before=not_before)
        except SealrouteError as error:
            self._watcher.trouble("a group could not be given back; its lease will end", error)

    # --------------------------------------------------------------------------------------------------- the end

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Finish the runs under way, give everything else back."""
        self._stopping = True
        self._wake.set()
        waiting = [job.group.id for lane in self._lanes.values() for job in lane.jobs]
        for lane in self._lanes.values():
            self._groups -= len(lane.jobs)
            lane.jobs.clear()
        self._ready.clear()
        if waiting:
            await self._queue.release(waiting)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
