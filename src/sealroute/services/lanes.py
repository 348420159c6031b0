"""lanes: the groups in memory, a lane per destination and organisation, and whose turn it is.

A destination that cannot be reached, or is slow, or may get only so much, must not stop the others:

* Its runs at once are bounded by its window (services/destinations) and by two while its last run reached nobody.
* The groups that wait in memory for it are bounded, more tightly while its last run reached nobody or its rate is limited.
* Destinations whose last run reached nobody have a quarter of all runs and of the memory together; these and those of which
  nothing is known three quarters; once half of that is in use, one of which nothing is known gets a single run to begin with.
  The rest is only for destinations that were reached: however many dead ones there are, mail to a live one finds a place
  at once.
* A lane that lacks a token of its connector or destination stands aside until the token is due (services/rates).

Among those that may run, lanes take turns in the order in which they queued up, one run each.

Pure bookkeeping, nothing waits here; what a run is stands in services/schedule.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealroute.base.mail import Message
from sealroute.policy.connector import Connector
from sealroute.policy.pace import Heard
from sealroute.ports import Group, Reach
from sealroute.services.destinations import Destination, Destinations
from sealroute.services.rates import Gate, Rates

CROWDED_PUT_OFF = timedelta(seconds=30)
"""When a group comes back that found no room because too much waits for destinations that were not reached."""
_SHARES = (0.25, 0.75)
"""Of all runs and of the memory: for destinations last not reached; for these and those of which nothing is known."""


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What one destination may take up, and all of them."""

    runs: int = 20
    """Per destination, unless its connector says otherwise."""
    groups: int = 2_500
    failing_runs: int = 2
    failing_groups: int = 40
    all_runs: int = 500
    """The smaller of the runs and the connections that all destinations have together."""
    all_groups: int = 5_000
    per_minute: int = 0
    """Messages to one destination; 0: no limit."""
    workers: int = 1
    """Each has its part of a connector's limits."""

    def part(self, whole: int) -> int:
        return max(1, whole // self.workers)


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

    @property
    def organization(self) -> str:
        return self.group.organization if self.message is None else self.message.organization


class Lane:
    """The jobs of one organisation for one destination."""

    __slots__ = ("destination", "gate", "jobs", "organization", "parked", "running", "turn", "was_full")

    def __init__(self, organization: str, destination: Destination) -> None:
        self.organization = organization
        self.destination = destination
        self.jobs: deque[Job] = deque()
        self.gate: Gate | None = None
        """Of its connector, if that has a limit."""
        self.running = 0
        self.turn = 0
        """Its number in the row of those whose turn comes; 0: it does not stand there."""
        self.parked = False
        self.was_full = False

    def __repr__(self) -> str:
        return f"<Lane {self.destination.domain}: {len(self.jobs)} waiting, {self.running} running>"


class _Tally:
    """What the destinations of one reach have together."""

    __slots__ = ("groups", "row", "runs")

    def __init__(self) -> None:
        self.runs = 0
        self.groups = 0
        self.row: deque[tuple[int, Lane]] = deque()

    def head(self) -> int | None:
        """The number of the first that stands here still; lanes whose turn changed have gone to another row."""
        row = self.row
        while row and row[0][1].turn != row[0][0]:
            row.popleft()
        return row[0][0] if row else None


class Lanes:
    """All lanes of a node."""

    def __init__(
        self,
        limits: LaneLimits,
        destinations: Destinations | None = None,
        connector: Callable[[str, str], Connector] | None = None,
    ) -> None:
        """`connector`: which one applies to (organisation, domain); without it none has limits of its own."""
        self._limits = limits
        self.destinations = Destinations() if destinations is None else destinations
        self.rates: Rates[Lane] = Rates()
        self._connector = connector
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._numbers = itertools.count(1)
        self._tallies = {reach: _Tally() for reach in Reach}
        self._unreached, self._unknown = self._tallies[Reach.UNREACHED], self._tallies[Reach.UNKNOWN]
        self._unreached_runs, self._unproven_runs = (_share(limits.all_runs, part) for part in _SHARES)
        self._unreached_groups, self._unproven_groups = (_share(limits.all_groups, part) for part in _SHARES)
        self._limited_groups = self._unreached_groups
        """How many groups may wait in memory for one connector's limit."""

    def __len__(self) -> int:
        return len(self._lanes)

    # ---------------------------------------------------------------------------------------------------------- in

    def add(self, job: Job, now: datetime) -> bool:
        """Put a job into its lane; False when there is no room for it: `put_off` says when it may come back."""
        domain = job.group.domain
        key = (job.organization, domain)
        lane = self._lanes.get(key)
        destination = self.destinations.get(domain) if lane is None else lane.destination
        gate = self._gate(self._connector_of(*key), now)
        if destination.waiting >= self._room(destination, now):
            if lane is not None:
                lane.was_full = True
            return False
        if self._crowded(destination) or (gate is not None and gate.waiting >= gate.room(self._limited_groups)):
            return False
        if lane is None:
            lane = self._lanes[key] = Lane(key[0], destination)
            destination.lanes.append(lane)
        self._move(lane, gate)
        lane.jobs.append(job)
        self._count(lane, 1)
        self._queue_up(lane)
        return True

    def put_off(self, job: Job, now: datetime) -> datetime | None:
        """When a job that was not added should be due; None: as it is, for `full` keeps it in the queue until there is room."""
        key = (job.organization, job.group.domain)
        destination = self.destinations.get(key[1])
        if destination.waiting and destination.waiting >= self._room(destination, now):
            return None
        gate = self._gate(self._connector_of(*key), now)
        if gate is not None and gate.waiting >= gate.room(self._limited_groups):
            return gate.promise(now)
        return now + CROWDED_PUT_OFF

    # --------------------------------------------------------------------------------------------------------- out

    def next(self, now: datetime) -> tuple[Lane, Job] | None:
        """The job whose turn it is, its lane counting it as running; None when no lane has one it may run."""
        due = self.rates.due
        if due is not None and due <= now:
            for woken in self.rates.wake(now):
                self._queue_up(woken)
        while (row := self._row()) is not None:
            lane = row.popleft()[1]
            lane.turn = 0
            destination = lane.destination
            connector = self._connector_of(lane.organization, destination.domain)
            if destination.running >= self._runs(destination, connector):
                continue  # it queues up again when one of these runs is over
            self._move(lane, self._gate(connector, now))
            if not self._tokens(lane, now):
                continue
            job = lane.jobs.popleft()
            self._count(lane, -1)
            lane.running += 1
            destination.running += 1
            self._tallies[destination.reach].runs += 1
            self._queue_up(lane)
            return lane, job
        return None

    def leave(self, lane: Lane, heard: Heard | None, now: datetime) -> bool:
        """A run is over, and what it told of the destination (None: nothing).  True when a full lane has room again."""
        destination = lane.destination
        before = self._tallies[destination.reach]
        before.runs -= 1
        lane.running -= 1
        destination.running -= 1
        limit = self._most(self._connector_of(lane.organization, destination.domain))
        if heard is not None and self.destinations.learn(destination, heard, limit, now):
            after = self._tallies[destination.reach]
            for tally, sign in ((before, -1), (after, 1)):
                tally.runs += sign * destination.running
                tally.groups += sign * destination.waiting
            for other in destination.lanes:
                other.turn = 0  # it stands in the row of what the destination was before
        for other in destination.lanes:
            self._queue_up(other)
        if not lane.jobs and not lane.running:
            del self._lanes[lane.organization, destination.domain]
            destination.lanes.remove(lane)
            self._move(lane, None)
        if lane.was_full and destination.waiting <= self._room(destination, now) // 2:
            lane.was_full = False
            return True
        return False

    def full(self, now: datetime) -> tuple[str, ...]:
        """The destinations whose lanes take no more."""
        full: dict[str, None] = {}
        for lane in self._lanes.values():
            if lane.destination.waiting >= self._room(lane.destination, now):
                lane.was_full = True
                full[lane.destination.domain] = None
        return tuple(full)

    def clear(self) -> list[Job]:
        """Take out all that is not running yet."""
        jobs: list[Job] = []
        self.rates.clear()
        for lane in list(self._lanes.values()):
            jobs += lane.jobs
            self._count(lane, -len(lane.jobs))
            lane.jobs.clear()
            lane.turn = 0
            if not lane.running:
                del self._lanes[lane.organization, lane.destination.domain]
                lane.destination.lanes.remove(lane)
        return jobs

    # ------------------------------------------------------------------------------------------------------- turns

    def _queue_up(self, lane: Lane) -> None:
        """Each lane stands in the row at most once, or it would have more turns than the others."""
        if lane.jobs and not lane.turn and not lane.parked:
            destination = lane.destination
            if destination.running < self._limits.failing_runs or destination.running < destination.window.size:
                lane.turn = next(self._numbers)
                self._tallies[destination.reach].row.append((lane.turn, lane))

    def _row(self) -> deque[tuple[int, Lane]] | None:
        """The row with the longest-standing lane, of those rows that have runs left."""
        best, row = None, None
        unproven = self._unreached.runs + self._unknown.runs < self._unproven_runs
        for reach, tally in self._tallies.items():
            if not tally.row or not (reach is Reach.REACHED or unproven):
                continue
            if reach is Reach.UNREACHED and tally.runs >= self._unreached_runs:
                continue
            head = tally.head()
            if head is not None and (best is None or head < best):
                best, row = head, tally.row
        return row

    def _tokens(self, lane: Lane, now: datetime) -> bool:
        """Take a token of each limit; False when one has none: the lane waits there."""
        gates = [gate for gate in (lane.gate, lane.destination.gate) if gate is not None]
        for gate in gates:
            if gate.bucket.due(now) > now:
                self.rates.park(gate, lane, now)
                return False
        for gate in gates:
            gate.bucket.take(now)
        return True

    # ------------------------------------------------------------------------------------------------------ bounds

    def _connector_of(self, organization: str, domain: str) -> Connector | None:
        return None if self._connector is None else self._connector(organization, domain)

    def _most(self, connector: Connector | None) -> int:
        """How far the window may open."""
        own = connector.max_connections_per_destination if connector is not None else None
        return self._limits.runs if own is None else self._limits.part(own)

    def _runs(self, destination: Destination, connector: Connector | None) -> int:
        window = min(destination.window.size, self._most(connector))
        if destination.reach is Reach.UNREACHED:
            return min(window, self._limits.failing_runs)
        if destination.reach is Reach.UNKNOWN and self._unreached.runs + self._unknown.runs >= self._unproven_runs // 2:
            return 1  # half of what these have is in use: one to try each is enough, so that more of them are tried
        return window

    def _room(self, destination: Destination, now: datetime) -> int:
        limits = self._limits
        room = limits.failing_groups if destination.reach is Reach.UNREACHED else limits.groups
        if limits.per_minute and destination.gate is None:
            destination.gate = Gate(limits.per_minute, now)
        return room if destination.gate is None else destination.gate.room(room)

    def _crowded(self, destination: Destination) -> bool:
        if destination.reach is Reach.REACHED:
            return False
        # The first group of a destination has room beyond the quarter, or few dead ones could keep the others out for ever.
        if destination.reach is Reach.UNREACHED and destination.waiting and self._unreached.groups >= self._unreached_groups:
            return True
        return self._unreached.groups + self._unknown.groups >= self._unproven_groups

    def _gate(self, connector: Connector | None, now: datetime) -> Gate | None:
        per_minute = connector.max_messages_per_minute if connector is not None else None
        if connector is None or per_minute is None:
            return None
        return self.rates.connector(connector.guid, self._limits.part(per_minute), now)

    def _move(self, lane: Lane, gate: Gate | None) -> None:
        """The lane's jobs wait at this connector's gate from now on."""
        if lane.gate is not gate:
            for which, sign in ((lane.gate, -1), (gate, 1)):
                if which is not None:
                    which.waiting += sign * len(lane.jobs)
            lane.gate = gate

    def _count(self, lane: Lane, jobs: int) -> None:
        lane.destination.waiting += jobs
        self._tallies[lane.destination.reach].groups += jobs
        if lane.gate is not None:
            lane.gate.waiting += jobs


def _share(whole: int, share: float) -> int:
    return max(1, int(whole * share))
