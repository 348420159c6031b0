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

Pure bookkeeping, nothing waits here; what a run is stands in services/schedule, what one lane is in services/lane.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from sealroute.policy.connector import Connector
from sealroute.policy.pace import Heard
from sealroute.ports import Reach
from sealroute.services.destinations import Destination, Destinations
from sealroute.services.lane import Job, Lane, LaneLimits, Tally, share_of
from sealroute.services.rates import Gate, Rates

CROWDED_PUT_OFF = timedelta(seconds=30)
"""When a group comes back that found no room because too much waits for destinations that were not reached."""
_SHARES = (0.25, 0.75)
"""Of all runs and of the memory: for destinations last not reached; for these and those of which nothing is known."""


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
        self._tallies = {reach: Tally() for reach in Reach}
        self._unreached, self._unknown = self._tallies[Reach.UNREACHED], self._tallies[Reach.UNKNOWN]
        self._unreached_runs, self._unproven_runs = (share_of(limits.all_runs, part) for part in _SHARES)
        self._unreached_groups, self._unproven_groups = (share_of(limits.all_groups, part) for part in _SHARES)
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
        if destination.waiting >= self._room(destination, now):
            lane.was_full = True
        self._queue_up(lane)
        return True

    def put_off(self, job: Job, now: datetime) -> datetime | None:
        """When a job that was not added should be due; None: as it is, for `room` keeps it in the queue until there is room."""
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

    def room(self, most: int, now: datetime) -> dict[str, int]:
        """How many more the lanes take that do not take `most`, by destination; 0: the lane is full."""
        room: dict[str, int] = {}
        for lane in self._lanes.values():
            left = self._room(lane.destination, now) - lane.destination.waiting
            if left < most:
                room[lane.destination.domain] = max(left, 0)
            if left <= 0:
                lane.was_full = True
        return room

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
