"""What a running gateway reads and remembers beside the queue: connectors, policies, destinations, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Protocol

from sealroute.base.mail import Message
from sealroute.policy.alerts import Alert, AlertState, Channel
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException
from sealroute.policy.history import Drift, Remembered
from sealroute.policy.readiness import Day
from sealroute.policy.sighting import Sighting
from sealroute.policy.sighting_changes import Compared
from sealroute.policy.transport.rule import TransportRule
from sealroute.ports.queue import Group


class Connectors(Protocol):
    """The connectors of all organisations, readable without waiting."""

    def all(self, organization: str) -> Sequence[Connector]:
        """The latest loaded set; refreshed in the background when the store changed."""
        ...

    def exceptions(self, organization: str) -> Mapping[tuple[str, str], TimedException]:
        """Timed exceptions by connector GUID and recipient domain, as last loaded; their date may have passed since."""
        ...

    def moves(self, organization: str) -> Mapping[str, tuple[str, datetime]]:
        """Moves under way by connector GUID: their id, and when they were started; as last loaded."""
        ...

    def rules(self, organization: str) -> Sequence[TransportRule]:
        """Transport rules that are enabled, by priority, as last loaded."""
        ...


@dataclass(frozen=True, slots=True)
class CachedPolicy:
    """One MTA-STS policy in the persistent cache."""

    domain: str
    policy_id: str
    text: str
    """The policy file, parsed again on reading."""
    fetched_at: datetime
    expires_at: datetime
    checked_at: datetime
    """When the TXT record was last seen to carry this id."""


class PolicyCache(Protocol):
    """The persistent MTA-STS cache, shared by nodes [RFC 8461 §5.1]."""

    async def get(self, domain: str) -> CachedPolicy | None: ...
    async def put(self, policy: CachedPolicy) -> None: ...
    async def remove(self, domain: str) -> None: ...
    async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
        """Policies that end before the moment, the first to end first."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryChange:
    """What is remembered of one destination, before and from now on, and the events that make the difference."""

    before: Remembered | None
    after: Remembered
    events: tuple[Drift, ...] = ()


class Reach(Enum):
    """Whether the last run to a destination got as far as a transaction."""

    REACHED = "reached"
    UNREACHED = "unreached"
    UNKNOWN = "unknown"
    """There was no run yet, or it is forgotten."""


@dataclass(frozen=True, slots=True)
class DestinationState:
    """How much is sent to one destination at once, by one node."""

    domain: str
    window: int
    """Runs at once (policy/pace)."""
    halved: bool
    """It was halved before, and grows slowly."""
    reach: Reach
    changed_at: datetime
    why: str
    """Of the last change, for people."""
    node: str = ""
    """Whose window it is; empty: of a gateway that is one process and whose node has no name."""


class WindowStore(Protocol):
    """Windows at rest, each node its own."""

    async def load(self, node: str, limit: int) -> list[DestinationState]:
        """Those of a node that changed last, the longest unchanged of them first."""
        ...

    async def save(self, node: str, states: Sequence[DestinationState]) -> None:
        """Keep them instead of what was kept for the same domains."""
        ...


class HistoryStore(Protocol):
    """What destinations had, shared by nodes."""

    async def known(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Remembered]:
        """What is remembered of these destinations (organisation, domain)."""
        ...

    async def record(self, changes: Sequence[HistoryChange]) -> list[Drift]:
        """Keep it; returns the events that were written, which are those that no other node has written before."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one destination of one organisation on one day."""

    organization: str
    domain: str
    day: Day
    move: str = ""
    """The move of a connector (policy/move) that it tells of; empty: it tells of the destination."""


class ObservationStore(Protocol):
    """What attempts saw, shared by nodes."""

    async def add(self, observed: Sequence[Observed]) -> None:
        """Add these counts to what is kept; raises StoreUnavailable, and then none was added."""
        ...


Destination = tuple[str, str]
"""(organisation, recipient domain)"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A destination that is probed from time to time."""

    organization: str
    domain: str
    due_at: datetime
    """When it is probed next; with a probe under way, when that is given up for dead."""
    sighting: Sighting | None = None
    """What the probes so far showed."""
    probed_at: datetime | None = None
    trouble: str = ""
    """Why the last probe showed nothing; empty: it did."""


@dataclass(frozen=True, slots=True)
class ProbeEnd:
    """How a probe of a destination ended."""

    watched: Watched
    """As it was taken."""
    at: datetime
    due_at: datetime
    trouble: str = ""
    compared: Compared | None = None
    """None: it showed nothing, and everything stays as it is known."""


class WatchStore(Protocol):
    """What probes look after, shared by nodes; every method raises StoreUnavailable."""

    async def traffic(self, since: date, limit: int) -> list[Destination]:
        """Where mail was tried to go since that day, those with the most attempts first."""
        ...

    async def enrol(self, first: Mapping[Destination, datetime], now: datetime) -> int:
        """Add those that are not there, to be probed first at the time given; returns how many were added."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Watched]:
        """What is to be probed, the longest due first."""
        ...

    async def hasten(self, keys: Sequence[Destination], now: datetime, apart: timedelta) -> int:
        """Make due now what is watched, due later than `apart` from now, and was last probed longer ago; returns how many."""
        ...

    async def take(self, watched: Watched, until: datetime) -> Watched | None:
        """Make it ours until then, when it is due again; None: another node has it."""
        ...

    async def end(self, ended: ProbeEnd) -> list[Drift] | None:
        """Keep what a probe came to; returns the events that were written, None when it was not ours any more."""
        ...


class AlertStore(Protocol):
    """What is to be told, shared by nodes; every method raises StoreUnavailable."""

    async def due(self, now: datetime, channels: Sequence[Channel], limit: int, *, tests_only: bool) -> list[Alert]:
        """What is to be sent now over these channels, the longest due first."""
        ...

    async def take(self, alert: Alert, until: datetime) -> bool:
        """Make it ours until then, when it is tried again; False: another node has it."""
        ...

    async def note(self, identity: str, state: AlertState, error: str) -> None:
        """Record how a try went."""
        ...

    async def mail(self, identity: str, message: Message, group: Group) -> None:
        """Put its mail into the queue, and take it for sent, in one transaction."""
        ...
