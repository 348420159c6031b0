"""lanes: the groups in memory, one lane per destination, and whose turn it is.

A destination that cannot be reached must not stop the others.  So a lane has a bound on its runs at once and on the groups
that wait in it, and both are small for a lane whose last run reached nobody: it keeps neither memory nor runs from those
that work.  Lanes take turns, one run each.

Pure bookkeeping, nothing waits here; what a run is stands in services/schedule.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from sealroute.base.mail import Message
from sealroute.ports import Group

MAX_FAILING_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What one destination may take up."""

    runs: int = 20
    groups: int = 2_500
    failing_runs: int = 2
    failing_groups: int = 40


@dataclass(slots=True, eq=False)
class Job:
    """One group to be worked on."""

    group: Group
    message: Message | None
    """None while the content is still in the store."""
    size_bytes: int = 0
    """The content in memory."""
    settling: bool = False
    """Its run is over; the result is being made durable."""


class Lane:
    """One destination's jobs."""

    __slots__ = ("domain", "jobs", "ready", "running", "was_full")

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.jobs: deque[Job] = deque()
        self.running = 0
        self.ready = False
        """True while it stands in the row of those whose turn comes."""
        self.was_full = False

    def __repr__(self) -> str:
        return f"<Lane {self.domain}: {len(self.jobs)} waiting, {self.running} running>"


class Lanes:
    """All lanes of a node."""

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self._lanes: dict[str, Lane] = {}
        self._turns: deque[Lane] = deque()
        self._failing: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes)

    def add(self, job: Job) -> bool:
        """Put a job into its lane; False when the lane is full."""
        domain = job.group.domain
        lane = self._lanes.get(domain)
        if lane is None:
            lane = self._lanes[domain] = Lane(domain)
        elif len(lane.jobs) >= self._room(lane):
            lane.was_full = True
            return False
        lane.jobs.append(job)
        self._queue_up(lane)
        return True

    def next(self) -> tuple[Lane, Job] | None:
        """The job whose turn it is, its lane counting it as running; None when no lane has one it may run."""
        while self._turns:
            lane = self._turns.popleft()
            lane.ready = False
            if lane.jobs and lane.running < self._runs(lane):
                lane.running += 1
                job = lane.jobs.popleft()
                self._queue_up(lane)
                return lane, job
        return None

    def leave(self, lane: Lane, *, reached: bool) -> bool:
        """A run is over; `reached`: somebody there took part in a transaction.  True when a full lane has room again."""
        lane.running -= 1
        if reached:
            self._failing.pop(lane.domain, None)
        else:
            self._failing[lane.domain] = None
            self._failing.move_to_end(lane.domain)
            if len(self._failing) > MAX_FAILING_REMEMBERED:
                self._failing.popitem(last=False)
        self._queue_up(lane)
        if not lane.jobs and not lane.running:
            del self._lanes[lane.domain]
        if lane.was_full and len(lane.jobs) <= self._room(lane) // 2:
            lane.was_full = False
            return True
        return False

    def full(self) -> tuple[str, ...]:
        """The destinations whose lanes take no more."""
        full = [lane for lane in self._lanes.values() if len(lane.jobs) >= self._room(lane)]
        for lane in full:
            lane.was_full = True
        return tuple(lane.domain for lane in full)

    def clear(self) -> list[Job]:
        """Take out all that is not running yet."""
        jobs = [job for lane in self._lanes.values() for job in lane.jobs]
        for lane in self._lanes.values():
            lane.jobs.clear()
        self._turns.clear()
        return jobs

    def _queue_up(self, lane: Lane) -> None:
        """Each lane stands in the row at most once, or it would have more turns than the others."""
        if lane.jobs and not lane.ready and lane.running < self._runs(lane):
            lane.ready = True
            self._turns.append(lane)

    def _runs(self, lane: Lane) -> int:
        limits = self._limits
        return min(limits.failing_runs, limits.runs) if lane.domain in self._failing else limits.runs

    def _room(self, lane: Lane) -> int:
        return self._limits.failing_groups if lane.domain in self._failing else self._limits.groups
