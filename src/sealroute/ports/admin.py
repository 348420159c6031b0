"""The store as administrators and faces use it.  Synchronous: the CLI calls it directly, a server in a worker thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from sealroute.policy.alerts import Alert, Channel
from sealroute.policy.connector import Connector
from sealroute.policy.exceptions import TimedException
from sealroute.policy.history import Drift, Remembered
from sealroute.policy.move import Held, Move
from sealroute.policy.readiness import Day
from sealroute.policy.reasons import Finding
from sealroute.policy.sighting_changes import SeenChange
from sealroute.policy.transport.rule import TransportRule
from sealroute.ports.queue import Group, GroupState, TraceEvent
from sealroute.ports.state import DestinationState, Watched


@dataclass(frozen=True, slots=True)
class Change:
    """One audited change to a connector or a transport rule."""

    at: datetime
    actor: str
    action: str
    """New, Set, Remove, Validate, NewException, EndException, StartMove, AdvanceMove, RollBackMove, NewRule, SetRule or
    RemoveRule.
    """
    connector: str
    """Its name, or the rule's."""
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class ConnectorStore(Protocol):
    """Connectors at rest.  Names are compared without regard to case within an organisation."""

    def all(self, organization: str) -> list[Connector]: ...
    def get(self, organization: str, identity: str) -> Connector | None:
        """By name (any case) or GUID."""
        ...

    def add(self, connector: Connector, actor: str) -> None:
        """Raises OperatorError when the name is taken."""
        ...

    def replace(self, connector: Connector, actor: str) -> None:
        """Replace by GUID; raises OperatorError when it is gone or the new name is taken."""
        ...

    def remove(self, organization: str, guid: str, actor: str) -> None: ...
    def save_all(self, added: Sequence[Connector], replaced: Sequence[tuple[Connector, Connector]], actor: str) -> None:
        """All in one transaction, or none; `replaced` is (as the caller saw it, as it shall be).

        `when_created` is kept as given.  Raises OperatorError when a name or GUID is taken, or a connector has changed
        meanwhile.
        """
        ...

    def validated(self, seen: Connector, after: Connector, record: Mapping[str, Any], actor: str) -> None:
        """Keep the connector as validated, and the tasks (plain JSON) in its audit, in one transaction.

        Raises OperatorError when the connector is no longer as `seen`.
        """
        ...

    def last_validation(self, organization: str, guid: str) -> Mapping[str, Any] | None:
        """The tasks kept last; None when there are none."""
        ...

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        """The newest first."""
        ...

    def version(self) -> int:
        """Grows with every change, so that a running gateway sees cheaply that it must reload."""
        ...


class ExceptionStore(Protocol):
    """Timed exceptions at rest, audited among the connector's changes."""

    def all(self, organization: str) -> list[TimedException]:
        """In force, ended and expired, the newest first."""
        ...

    def add(self, exception: TimedException) -> None:
        """Raises OperatorError when one is in force already for the domain in this connector."""
        ...

    def end(self, organization: str, identity: str, actor: str, now: datetime) -> TimedException:
        """The exception as it was until now; raises OperatorError when there is none in force of that id."""
        ...


@dataclass(frozen=True, slots=True)
class MoveChange:
    """One step of a move with all that it changes; carried out whole or not at all."""

    before: Move | None
    """None: it is started."""
    after: Move
    replaced: tuple[tuple[Connector, Connector], ...] = ()
    """(as seen, as it shall be)."""
    added: tuple[Connector, ...] = ()
    removed: tuple[Connector, ...] = ()


class MoveStore(Protocol):
    """Moves of pinned connectors at rest, audited among the connectors' changes."""

    def all(self, organization: str) -> list[Move]:
        """Under way and ended, the newest first."""
        ...

    def under_way(self) -> list[Move]:
        """Those of all organisations that have not ended."""
        ...

    def carry_out(self, change: MoveChange, now: datetime, actor: str, *, alert: bool = False) -> bool:
        """One step, in one transaction with its audit; with an alert when it is to be told.

        False: the move or a connector is no longer as it was seen, and nothing was done.  Raises OperatorError when a name is
        taken.
        """
        ...

    def days(self, move: Move) -> dict[str, list[Day]]:
        """What attempts through the moved connector saw, by domain."""
        ...

    def held(self, move: Move, limit: int) -> list[Held]:
        """Messages that wait after an attempt since the start, whatever for."""
        ...

    def try_again(self, move: Move, due: datetime) -> int:
        """Make what waits for the move's domains due at the moment, if it is not earlier; returns how many."""
        ...


class RuleStore(Protocol):
    """Transport rules at rest.  Names are compared without regard to case within an organisation."""

    def all(self, organization: str) -> list[TransportRule]:
        """By priority."""
        ...

    def get(self, organization: str, identity: str) -> TransportRule | None:
        """By name (any case) or GUID."""
        ...

    def save(self, changes: Sequence[tuple[TransportRule | None, TransportRule | None]], actor: str) -> None:
        """Each (as the caller saw it, as it shall be; None: there is none), all in one transaction, or none.

        Raises OperatorError when a name is taken, a rule has changed meanwhile, or a route cannot be used.
        """
        ...

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        """The newest first."""
        ...


class ObservationLog(Protocol):
    """What attempts saw, for administrators."""

    def days(self, organization: str, since: date, domains: Sequence[str] = ()) -> dict[str, list[Day]]:
        """What was seen from a day on, by domain; of all domains when none is named."""
        ...


class WatchLog(Protocol):
    """What probes look after, for administrators."""

    def watched(self, organization: str, domains: Sequence[str] = ()) -> dict[str, Watched]:
        """What the last probes showed, by domain; of all domains when none is named."""
        ...

    def changes(self, organization: str, domain: str, limit: int) -> list[SeenChange]:
        """What a destination changed, the latest first."""
        ...


class AlertLog(Protocol):
    """What is and was to be told, for administrators."""

    def all(self, organization: str, limit: int) -> list[Alert]:
        """The newest first."""
        ...

    def add_test(self, organization: str, channels: Sequence[Channel], now: datetime) -> None:
        """Write a test for each channel."""
        ...


class DriftLog(Protocol):
    """Changes of destinations' protection, read side."""

    def events(self, organization: str, domain: str | None = None, limit: int = 1000) -> list[Drift]:
        """The newest first."""
        ...

    def remembered(self, organization: str, domain: str | None = None, limit: int = 1000) -> list[Remembered]:
        """By domain."""
        ...


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One waiting group as administrators see it."""

    group: Group
    state: GroupState
    sender: str
    subject: str
    header_message_id: str
    size_bytes: int
    received_at: datetime
    expires_at: datetime | None = None


class QueueAdmin(Protocol):
    """Looking at the queue and steering it.  Changes touch only groups nobody is working on; each returns how many changed."""

    def find(
        self, *, domain: str | None = None, state: GroupState | None = None, sender: str | None = None, limit: int = 1000
    ) -> list[QueueItem]:
        """Oldest received first."""
        ...

    def show(self, message_or_group_id: str) -> list[QueueItem]: ...
    def retry(self, ids: Sequence[str], now: datetime) -> int:
        """Make QUEUED groups due now.  `ids` are message or group ids; `["*"]` means all."""
        ...

    def hold(self, ids: Sequence[str]) -> int: ...
    def release(self, ids: Sequence[str], now: datetime) -> int: ...
    def remove(self, ids: Sequence[str], now: datetime, actor: str) -> int:
        """Drop without an NDR; recorded in the trace as FAIL."""
        ...


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A destination as administrators see it: a node's window, and what all nodes have in the queue for it."""

    state: DestinationState
    active: int
    """Groups that a node has in memory: being sent, or waiting for their turn."""
    queued: int


class DestinationLog(Protocol):
    """Windows, read side."""

    def rows(self, domain: str | None = None, limit: int = 1000) -> list[DestinationRow]:
        """By domain and node."""
        ...


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Filters of Get-MessageTraceV2; an empty one does not filter.  Times are inclusive.  `*` in addresses is a wildcard."""

    start: datetime
    end: datetime
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    header_message_ids: tuple[str, ...] = ()
    message_trace_id: str = ""
    from_ip: str = ""
    to_ip: str = ""
    statuses: tuple[str, ...] = ()
    subject: str = ""
    subject_filter: str = "Contains"
    """Contains, StartsWith or EndsWith."""
    starting_recipient: str = ""
    """Paging: rows with Received equal to `end` begin after this recipient."""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One message × recipient."""

    message_trace_id: str
    message_id: str
    """The Message-ID header."""
    received: datetime
    sender: str
    recipient: str
    subject: str
    status: str
    """GettingStatus, Pending, Failed, Delivered, Expanded, Quarantined or FilteredAsSpam."""
    size_bytes: int
    from_ip: str
    to_ip: str
    connector: str = ""


class Traces(Protocol):
    """Message trace, read side."""

    def search(self, query: TraceQuery) -> list[TraceRow]:
        """Received descending, then recipient ascending."""
        ...

    def events(self, message_trace_id: str, recipient: str | None = None) -> list[TraceEvent]:
        """Oldest first."""
        ...

    def attempts(self, message_trace_id: str, recipient: str | None = None) -> list[dict[str, Any]]:
        """The full attempt records (policy/record), oldest first, evidence filled in."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What the trace has of one message, as reports read it."""

    message_id: str
    size_bytes: int
    events: tuple[TraceEvent, ...]
    """DEFER and FAIL only, oldest first."""
    attempts: tuple[Mapping[str, Any], ...]
    """Attempt records (policy/record) without their evidence, oldest first."""


@dataclass(frozen=True, slots=True)
class Waits:
    """A group that waits in the queue, as reports read it."""

    domain: str
    state: GroupState
    queued_at: datetime
    finding: Finding | None


class ReportSource(Protocol):
    """What reports are made of, read in slices: a report over millions of rows needs no more memory than one of few."""

    def told(self, start: datetime, end: datetime, domain: str | None = None) -> Iterator[Told]:
        """Messages received from `start` to `end`, both included, oldest first; only what concerns the recipient domain."""
        ...

    def waiting(self, queued_before: datetime, domain: str | None = None) -> Iterator[Waits]:
        """Groups that wait since before the moment, in no particular order."""
        ...


class Users(Protocol):
    """Who may submit; only argon2 hashes are kept."""

    def hash_of(self, name: str) -> str | None: ...
    def set(self, name: str, password_hash: str, organization: str) -> None: ...
    def remove(self, name: str) -> bool: ...
    def all(self) -> list[tuple[str, str]]:
        """(name, organisation), by name."""
        ...

    def organization_of(self, name: str) -> str | None: ...


class Organizations(Protocol):
    """Owners of connectors, users and mail."""

    def all(self) -> list[tuple[str, str]]:
        """(id, name), by id."""
        ...

    def add(self, identity: str, name: str) -> None:
        """Raises OperatorError when the id is taken."""
        ...
