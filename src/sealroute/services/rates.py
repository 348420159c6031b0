"""rates: limits in messages per minute, and the lanes that wait for their next token.

A lane without a token stands aside, in the row of the gate that is shut; others pass it.  When a token is due, as many lanes as
there are tokens go back to their turn, no more: nothing is polled, and a thousand lanes at one gate cost one wake-up per
message.  What a gate could not let through within a minute has no room in memory: it goes back to the queue, each message
with a time of its own, at most an hour ahead.

Pure bookkeeping; whoever uses it asks `due` and comes back then.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from sealroute.policy.rate import Bucket

LONGEST_PUT_OFF = timedelta(hours=1)
"""So that a limit that was lifted meanwhile is noticed by then."""
PUT_OFF_STEP = timedelta(seconds=30)
"""Half of what has room in memory comes back together: each time is a change of its own in the store."""
_EPOCH = datetime.fromisoformat("2020-01-01T00:00:00+00:00")


class Parking(Protocol):
    """What waits at a gate: a lane."""

    parked: bool


L = TypeVar("L", bound=Parking)


class Gate:
    """One limit, and who waits for it."""

    __slots__ = ("_promised", "bucket", "lanes", "scheduled", "waiting")

    def __init__(self, per_minute: int, now: datetime) -> None:
        self.bucket = Bucket(per_minute, now)
        self.waiting = 0
        """Jobs in memory that must pass it."""
        self.lanes: deque[Any] = deque()
        self.scheduled = False
        """It stands among those that are due."""
        self._promised = now

    def __repr__(self) -> str:
        return f"<Gate {self.bucket.per_minute}/min: {self.waiting} waiting, {len(self.lanes)} lanes parked>"

    def room(self, most: int) -> int:
        """How many jobs may wait for it in memory: a minute's worth."""
        return min(most, self.bucket.per_minute)

    def promise(self, now: datetime) -> datetime:
        """When a job that finds no room should come back: after all that wait, and all that were told a time before."""
        interval = self.bucket.interval
        first = max(self._promised, now + interval * self.waiting)
        first = min(first, now + LONGEST_PUT_OFF)
        self._promised = first + interval
        # A little early, so that the next is there when its token is; but not before now.
        return max(now + interval, _EPOCH + ((first - _EPOCH) // PUT_OFF_STEP) * PUT_OFF_STEP)


class Rates(Generic[L]):
    """All gates: one per connector with a limit, and one per destination while there is a limit for these."""

    def __init__(self) -> None:
        self._connectors: dict[str, Gate] = {}
        self._due: list[tuple[datetime, int, Gate]] = []
        self._count = itertools.count()
        self.parked = 0
        """Lanes that wait for a token."""

    def __repr__(self) -> str:
        return f"<Rates: {len(self._connectors)} connectors, {self.parked} lanes parked>"

    @property
    def due(self) -> datetime | None:
        """When a lane that waits can go on."""
        return self._due[0][0] if self._due else None

    def connector(self, guid: str, per_minute: int, now: datetime) -> Gate:
        """The gate of a connector, with the limit it has now."""
        gate = self._connectors.get(guid)
        if gate is None:
            gate = self._connectors[guid] = Gate(per_minute, now)
        elif gate.bucket.per_minute != per_minute:
            gate.bucket = Bucket(per_minute, now)
        return gate

    def park(self, gate: Gate, lane: L, now: datetime) -> None:
        """The lane waits until the gate has a token."""
        lane.parked = True
        self.parked += 1
        gate.lanes.append(lane)
        self._schedule(gate, now)

    def wake(self, now: datetime) -> list[L]:
        """The lanes whose token is due; they take their turn, and the token with it."""
        awake: list[L] = []
        while self._due and self._due[0][0] <= now:
            _, _, gate = heapq.heappop(self._due)
            gate.scheduled = False
            for _ in range(min(gate.bucket.tokens(now), len(gate.lanes))):
                lane = gate.lanes.popleft()
                lane.parked = False
                self.parked -= 1
                awake.append(lane)
            if gate.lanes:
                self._schedule(gate, now)
        return awake

    def clear(self) -> None:
        """Nobody waits any more."""
        for _, _, gate in self._due:
            for lane in gate.lanes:
                lane.parked = False
            gate.lanes.clear()
            gate.scheduled = False
        self._due.clear()
        self.parked = 0

    def _schedule(self, gate: Gate, now: datetime) -> None:
        if not gate.scheduled:
            gate.scheduled = True
            # Those woken just now have not taken their tokens yet: the next one is an interval away at least.
            due = gate.bucket.due(now)
            heapq.heappush(self._due, (due if due > now else now + gate.bucket.interval, next(self._count), gate))
