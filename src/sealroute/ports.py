"""What services need from the world, as small protocols.  net/ and store/ implement them; app.py hands them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any, Protocol

from sealroute.base.dnsdata import Answer, Mx, Tlsa
from sealroute.base.dnssec import SignedAnswer
from sealroute.base.mail import BodyType, Message, Recipient, Ret
from sealroute.base.status import Reply
from sealroute.policy.alerts import Alert, AlertState, Channel
from sealroute.policy.attempt import Attempt, RecipientFate
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import FetchFailure
from sealroute.policy.exceptions import TimedException
from sealroute.policy.history import Drift, Remembered
from sealroute.policy.readiness import Day
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts

# ---------------------------------------------------------------------------------------------------------- the world


class Clock(Protocol):
    """The queue's time; a lab may let it run faster than the wall."""

    def now(self) -> datetime: ...
    async def sleep_until(self, moment: datetime) -> None: ...


class Resolver(Protocol):
    """Validated DNS.  Never raises for what DNS may say: every trouble is an Answer with BOGUS or UNKNOWN.

    Names are given and returned in compared form (base/names).
    """

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, ascending by preference."""
        ...

    async def a(self, name: str) -> Answer[str]: ...
    async def aaaa(self, name: str) -> Answer[str]: ...
    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records at the full owner name, e.g. `_25._tcp.mx.example.com`."""
        ...

    async def txt(self, name: str) -> Answer[str]:
        """TXT records, the strings of each joined, bytes as latin-1."""
        ...

    async def close(self) -> None: ...


class Signatures(Protocol):
    """DNS with its signatures, to be shown to people; nothing is decided by it."""

    async def signed(self, name: str, rtype: str) -> SignedAnswer:
        """SOA, DS, DNSKEY, MX, A, AAAA, TLSA, TXT or CNAME of a name ("" is the root), never following aliases for show."""
        ...


class ShowingResolver(Resolver, Signatures, Protocol):
    """Both in one, as the resolvers are."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A policy file as served: 200, text/plain, within the limits."""

    body: bytes


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """No policy file; `failure` is FETCH_ERROR or WEBPKI_INVALID, `detail` says what happened."""

    failure: FetchFailure
    detail: str


class PolicyFetcher(Protocol):
    """HTTPS for MTA-STS: PKIX, the exact name, no redirects, 64 KiB, 60 s, text/plain [RFC 8461 §3.3]."""

    async def fetch(self, domain: str) -> Fetched | FetchFailed:
        """GET https://mta-sts.<domain>/.well-known/mta-sts.txt; never raises for what the network does."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DialTarget:
    """One address to open a session to."""

    host: str
    ip: str
    port: int
    sni: str | None
    starttls: bool = True
    """False: stay in plaintext even when STARTTLS is offered (the second try after a failed handshake)."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for some recipients at one peer."""

    sender: str
    recipients: tuple[Recipient, ...]
    content: bytes = field(default=b"", repr=False)
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    require_tls: bool = False
    crlf_only: bool = False
    """No CR or LF stands alone in the content; False: not known, to be looked at before it goes out."""


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What one transaction led to; every recipient has a fate."""

    recipients: tuple[RecipientFate, ...]
    replies: tuple[tuple[str, Reply], ...]
    reusable: bool
    """True when the session can carry another transaction."""


class Session(Protocol):
    """An SMTP session after its TLS handshake (or without one), on which nothing has been said since."""

    @property
    def facts(self) -> HandshakeFacts: ...
    @property
    def replies(self) -> tuple[tuple[str, Reply], ...]:
        """The opening dialogue: greeting, EHLO, STARTTLS."""
        ...

    @property
    def connect_ms(self) -> float: ...
    @property
    def tls_ms(self) -> float | None: ...
    @property
    def usable(self) -> bool:
        """False once the connection is lost or closing."""
        ...

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """Send one message.  Never raises for what the peer does: a lost connection is a DEFERRED fate."""
        ...

    async def greet(self) -> Finding | None:
        """Say EHLO after the handshake and nothing more; why no mail could follow, or None.  `replies` grows by the answer."""
        ...

    async def close(self) -> None:
        """QUIT, bounded in time; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class DialFailed:
    """No session: the host (or this address of it) is ruled out for this reason."""

    finding: Finding
    replies: tuple[tuple[str, Reply], ...] = ()
    connect_ms: float | None = None


class Dialer(Protocol):
    """Opens sessions up to the end of the TLS handshake and judges nothing."""

    async def dial(self, target: DialTarget) -> Session | DialFailed:
        """Connect, greeting, EHLO, STARTTLS if offered and wanted, handshake.

        A failed handshake or a refused STARTTLS is a Session whose facts say so; `usable` tells if plaintext may go on.
        """
        ...


# ---------------------------------------------------------------------------------------------------------- the store


class GroupState(Enum):
    """Where a recipient group stands; transitions are written in store/schema."""

    QUEUED = "queued"
    """Waits for `next_attempt_at`; nobody works on it."""
    ACTIVE = "active"
    """A node works on it, as long as the node's lease runs."""
    SUSPENDED = "suspended"
    """Held by an administrator; released or removed by one."""


class Changed(Enum):
    """What another node or an administrator changed in a store that nodes share."""

    QUEUE = "queue"
    """Something became due now."""
    CONNECTORS = "connectors"
    """Connectors or exceptions."""


@dataclass(frozen=True, slots=True)
class Group:
    """All still undelivered recipients of one message in one domain: the unit of delivery, retry and hold."""

    id: str
    message_id: str
    domain: str
    recipients: tuple[Recipient, ...]
    queued_at: datetime
    next_attempt_at: datetime
    attempts: int = 0
    """Runs through the hosts so far."""
    delay_notified: bool = False
    last_finding: Finding | None = None
    last_route: tuple[str, str] = ("", "")
    """(host, address) that greylisted us last: tried first next time [ADR 7.10]."""
    organization: str = field(default="", compare=False)
    """Whose mail it is; known of what was taken from the queue, elsewhere the message at hand says it."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One step in a message's life, per recipient or (address "") for all."""

    message_id: str
    at: datetime
    event: str
    """RECEIVE, SEND, DEFER, FAIL, TRANSFER, EXPAND, ... (Exchange's names)."""
    recipient: str
    description: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """A group's run is over: everything to be made durable in one transaction."""

    group: Group
    """As it was before the run."""
    fates: tuple[RecipientFate, ...]
    attempts: tuple[Attempt, ...]
    events: tuple[TraceEvent, ...]
    next_attempt_at: datetime | None
    """When the DEFERRED recipients are tried again; None when none is left."""
    finding: Finding | None = None
    """The reason shown for those still waiting."""
    delay_notified: bool = False
    last_route: tuple[str, str] = ("", "")
    notices: tuple[tuple[Message, tuple[Group, ...]], ...] = ()
    """NDRs, delay and success notices that enter the queue together with this."""


class Queue(Protocol):
    """The durable queue.  Every method returns only after commit; StoreUnavailable when it could not."""

    async def add(self, message: Message, groups: Sequence[Group], events: Sequence[TraceEvent], *, active: bool) -> None:
        """Take a message in.  `active`: this node works on the groups at once (no second read from the database)."""
        ...

    async def settle(self, settled: Settled) -> None:
        """Record a run; drop the group when nobody is left, and the message with its last group."""
        ...

    async def release(self, group_ids: Sequence[str], *, not_before: datetime | None = None) -> None:
        """Give ACTIVE groups back unworked (shutdown, no room): QUEUED at their old time, or at `not_before` if later."""
        ...

    async def take_due(self, now: datetime, limit: int, *, room: Mapping[str, int] = ...) -> list[Group]:
        """Lease up to `limit` due groups, oldest due first: QUEUED → ACTIVE; of a domain in `room` no more than it says.

        Once what there is no room for has filled the front of the line, the others come by domain instead of by time.
        """
        ...

    async def next_due(self) -> datetime | None:
        """When the next QUEUED group is due."""
        ...

    async def message(self, message_id: str) -> Message | None:
        """The message with its content."""
        ...

    async def start_node(self, now: datetime) -> int:
        """Register this node and take back what dead nodes held; returns how many groups came back."""
        ...

    async def renew_node(self, now: datetime) -> int:
        """Extend this node's lease; take back what nodes with expired leases held; returns how many."""
        ...

    async def depth(self) -> Mapping[GroupState, int]:
        """Counted: the longer the queue the longer it takes."""
        ...

    async def oldest(self) -> datetime | None:
        """When the oldest waiting message was queued."""
        ...


class Connectors(Protocol):
    """The connectors of all organisations, readable without waiting."""

    def all(self, organization: str) -> Sequence[Connector]:
        """The latest loaded set; refreshed in the background when the store changed."""
        ...

    def exceptions(self, organization: str) -> Mapping[tuple[str, str], TimedException]:
        """Timed exceptions by connector GUID and recipient domain, as last loaded; their date may have passed since."""
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


class ObservationStore(Protocol):
    """What attempts saw, shared by nodes."""

    async def add(self, observed: Sequence[Observed]) -> None:
        """Add these counts to what is kept; raises StoreUnavailable, and then none was added."""
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


# ------------------------------------------------------------------------- the store, as administrators and faces use it
# Synchronous: the CLI calls these directly, a server calls them in a worker thread.


@dataclass(frozen=True, slots=True)
class Change:
    """One audited change to a connector."""

    at: datetime
    actor: str
    action: str
    """New, Set, Remove, NewException or EndException."""
    connector: str
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


class ObservationLog(Protocol):
    """What attempts saw, for administrators."""

    def days(self, organization: str, since: date, domains: Sequence[str] = ()) -> dict[str, list[Day]]:
        """What was seen from a day on, by domain; of all domains when none is named."""
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
