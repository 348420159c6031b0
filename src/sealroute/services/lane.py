"""lane: one destination's jobs in memory, and what it may take up; whose turn it is stands in services/lanes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sealroute.base.mail import Message
from sealroute.ports import Group
from sealroute.services.destinations import Destination
from sealroute.services.rates import Gate


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


class Tally:
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


def share_of(whole: int, share: float) -> int:
    """The part of a bound, at least one."""
    return max(1, int(whole * share))
