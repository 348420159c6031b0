"""A small world for the command line's tests: a queue, a trace and users in memory, filled with believable mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.base.mail import Recipient
from sealroute.base.status import Enhanced, Reply
from sealroute.base.times import rfc3339
from sealroute.faces.cli.context import Context
from sealroute.policy.alerts import Alert, Channel
from sealroute.policy.attempt import Attempt, Fate, RecipientFate, Timings
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Evidence, Hop, HopKind, HostEvidence, StsEvidence, StsSource, TlsaLookup
from sealroute.policy.history import Drift, Remembered
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.move import Held, Move
from sealroute.policy.readiness import Day
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.record import attempt_record, plain
from sealroute.policy.requirement import CheckResult, HandshakeFacts, Protection, Verdict
from sealroute.policy.sighting_changes import SeenChange
from sealroute.ports import (
    AlertLog,
    Change,
    DestinationRow,
    DriftLog,
    ExceptionStore,
    Group,
    GroupState,
    MoveChange,
    MoveStore,
    ObservationLog,
    QueueItem,
    RuleStore,
    Told,
    TraceEvent,
    TraceQuery,
    TraceRow,
    Waits,
    Watched,
    WatchLog,
)
from sealroute.proto.mtasts.policy import StsMode, StsPolicy
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus
from sealroute.settings import Settings
from tests.unit.connector_fakes import FakeExceptions, FakeRules

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WAITING = "019a9f3e-1111-7abc-8def-000000000001"
HELD = "019a9f3e-2222-7abc-8def-000000000002"
SENDING = "019a9f3e-3333-7abc-8def-000000000003"
DELIVERED = "019a9f3e-4444-7abc-8def-000000000004"

MISMATCH = Finding(
    Reason.TLSA_INVALID,
    "none of 2 TLSA records matches the certificate of mx1.fabrikam.com",
    host="mx1.fabrikam.com",
    domain="fabrikam.com",
    ip="192.0.2.4",
)
REFUSED = Finding(Reason.CONNECT_REFUSED, host="mx.example.net", domain="example.net", ip="198.51.100.7")


def secure(name: str, rtype: str, *records: Any) -> Answer[Any]:
    return Answer(name, rtype, Outcome.DATA, Security.SECURE, records, ttl_seconds=300)


def mismatch_attempt(number: int = 3) -> dict[str, Any]:
    """The record of an attempt that met a certificate which no TLSA record names."""
    host = HostEvidence(
        "mx1.fabrikam.com",
        10,
        a=secure("mx1.fabrikam.com", "A", "192.0.2.4"),
        aaaa=Answer("mx1.fabrikam.com", "AAAA", Outcome.FAILED, Security.BOGUS, detail="signature has expired"),
        tlsa=(
            TlsaLookup(
                "mx1.fabrikam.com",
                secure(
                    "_25._tcp.mx1.fabrikam.com", "TLSA", Tlsa(3, 1, 1, bytes(range(32))), Tlsa(2, 1, 1, bytes(range(32, 64)))
                ),
            ),
        ),
    )
    mx = secure("fabrikam.com", "MX", Mx(10, "mx1.fabrikam.com"), Mx(20, "mx2.fabrikam.com"))
    sts = StsEvidence(
        "fabrikam.com",
        txt=secure("_mta-sts.fabrikam.com", "TXT", "v=STSv1; id=20261101"),
        txt_parsed=StsTxt(TxtStatus.OK, "20261101"),
        policy=StsPolicy(StsMode.ENFORCE, 604800, ("*.fabrikam.com",), "version: STSv1"),
        source=StsSource.CACHED,
        policy_id="20261101",
        expires_at=NOW + timedelta(days=5),
    )
    evidence = Evidence("fabrikam.com", (Hop("fabrikam.com", HopKind.MX, mx, (host,)),), (sts,), NOW, 300)
    attempt = Attempt(
        at=NOW - timedelta(minutes=40),
        number=number,
        connector_guid="6b0d8f0e-0000-4000-8000-000000000001",
        connector_name="Fabrikam",
        smtp_dane_mode=SmtpDaneMode.OPPORTUNISTIC,
        mta_sts_mode=MtaStsMode.OPPORTUNISTIC,
        domain="fabrikam.com",
        rows=("dane-usable", "sts-enforce"),
        finding=MISMATCH,
        host="mx1.fabrikam.com",
        ip="192.0.2.4",
        evidence=evidence,
        facts=HandshakeFacts(
            NOW, True, Reply(220, ("ready",), Enhanced(2, 0, 0)), "", "TLSv1.3", "TLS_AES_256_GCM_SHA384", (b"leaf", b"issuer")
        ),
        verdict=Verdict(
            MISMATCH,
            Protection.TLS,
            dane=CheckResult(False, detail="no record matches"),
            sts=CheckResult(True, matched="*.fabrikam.com"),
            would_satisfy_dane=False,
            would_satisfy_sts=True,
        ),
        replies=(
            ("(connect)", Reply(220, ("mx1.fabrikam.com ESMTP",))),
            ("EHLO gateway.contoso.com", Reply(250, ("mx1.fabrikam.com", "STARTTLS", "SIZE 1000000"))),
            ("STARTTLS", Reply(220, ("ready",), Enhanced(2, 0, 0))),
        ),
        recipients=(RecipientFate("bob@fabrikam.com", Fate.DEFERRED, finding=MISMATCH),),
        timings=Timings(12.4, 8.1, 21.0, None),
    )
    return attempt_record(attempt) | {"evidence": plain(evidence)}


def item(
    message_id: str,
    domain: str,
    state: GroupState,
    finding: Finding | None,
    *,
    hours: float,
    sender: str = "alice@contoso.com",
    recipients: tuple[str, ...] = (),
) -> QueueItem:
    received = NOW - timedelta(hours=hours)
    addresses = recipients or (f"bob@{domain}",)
    group = Group(
        id=message_id.replace("-7abc-", "-7bbb-"),
        message_id=message_id,
        domain=domain,
        recipients=tuple(Recipient(address) for address in addresses),
        queued_at=received,
        next_attempt_at=NOW + timedelta(minutes=20),
        attempts=3 if finding else 0,
        last_finding=finding,
    )
    return QueueItem(group, state, sender, "Quarterly figures", f"<{domain}@contoso.com>", 12_600, received)


class FakeQueue:
    def __init__(self) -> None:
        self.items = [
            item(WAITING, "fabrikam.com", GroupState.QUEUED, MISMATCH, hours=5.2, recipients=("bob@fabrikam.com", "eve@fabrikam.com")),
            item(HELD, "example.net", GroupState.SUSPENDED, REFUSED, hours=30, sender=""),
            item(SENDING, "example.org", GroupState.ACTIVE, None, hours=0.002),
        ]  # fmt: skip

    def find(
        self, *, domain: str | None = None, state: GroupState | None = None, sender: str | None = None, limit: int = 1000
    ) -> list[QueueItem]:
        found = [x for x in self.items if (domain in (None, x.group.domain)) and (state in (None, x.state))]
        return [x for x in found if sender in (None, x.sender)][:limit]

    def show(self, message_or_group_id: str) -> list[QueueItem]:
        return [x for x in self.items if message_or_group_id in (x.group.id, x.group.message_id)]

    def _move(self, ids: Sequence[str], old: GroupState, new: GroupState) -> int:
        hit = [x for x in self.items if x.group.id in ids and x.state is old]
        self.items = [replace(x, state=new) if x in hit else x for x in self.items]
        return len(hit)

    def retry(self, ids: Sequence[str], now: datetime) -> int:
        return self._move(ids, GroupState.QUEUED, GroupState.QUEUED)

    def hold(self, ids: Sequence[str]) -> int:
        return self._move(ids, GroupState.QUEUED, GroupState.SUSPENDED)

    def release(self, ids: Sequence[str], now: datetime) -> int:
        return self._move(ids, GroupState.SUSPENDED, GroupState.QUEUED)

    def remove(self, ids: Sequence[str], now: datetime, actor: str) -> int:
        hit = [x for x in self.items if x.group.id in ids and x.state is not GroupState.ACTIVE]
        self.items = [x for x in self.items if x not in hit]
        return len(hit)


def row(message_id: str, recipient: str, status: str, *, hours: float) -> TraceRow:
    received = NOW - timedelta(hours=hours)
    return TraceRow(
        message_id, "<1@contoso.com>", received, "alice@contoso.com", recipient, "Quarterly figures", status, 12_600,
        "192.0.2.200", "192.0.2.4", "Fabrikam",
    )  # fmt: skip


class FakeTraces:
    def __init__(self) -> None:
        self.asked: list[TraceQuery] = []
        self.rows = [
            row(DELIVERED, "carol@example.com", "Delivered", hours=1),
            row(WAITING, "bob@fabrikam.com", "Pending", hours=5.2),
            row(WAITING, "eve@fabrikam.com", "Pending", hours=5.2),
        ]

    def search(self, query: TraceQuery) -> list[TraceRow]:
        self.asked.append(query)
        wanted = [x for x in self.rows if query.message_trace_id in ("", x.message_trace_id)]
        return [x for x in wanted if not query.recipients or x.recipient in query.recipients][: query.limit]

    def events(self, message_trace_id: str, recipient: str | None = None) -> list[TraceEvent]:
        if message_trace_id != WAITING:
            return []
        at = NOW - timedelta(hours=5.2)
        data = {"reason": "tlsa-invalid", "host": "mx1.fabrikam.com", "ip": "192.0.2.4"}
        events = [
            TraceEvent(WAITING, at, "RECEIVE", "", "Received from mail.contoso.com [192.0.2.200]"),
            TraceEvent(WAITING, at + timedelta(seconds=1), "DEFER", "bob@fabrikam.com", MISMATCH.queued(), data),
            TraceEvent(WAITING, at + timedelta(seconds=1), "DEFER", "eve@fabrikam.com", MISMATCH.queued(), data),
        ]
        return [x for x in events if recipient is None or x.recipient in ("", recipient)]

    def attempts(self, message_trace_id: str, recipient: str | None = None) -> list[dict[str, Any]]:
        return [mismatch_attempt()] if message_trace_id == WAITING else []


@dataclass
class FakeUsers:
    known: dict[str, tuple[str, str]] = field(default_factory=dict)

    def hash_of(self, name: str) -> str | None:
        return self.known[name][0] if name in self.known else None

    def set(self, name: str, password_hash: str, organization: str) -> None:
        self.known[name] = (password_hash, organization)

    def remove(self, name: str) -> bool:
        return self.known.pop(name, None) is not None

    def all(self) -> list[tuple[str, str]]:
        return sorted((name, value[1]) for name, value in self.known.items())

    def organization_of(self, name: str) -> str | None:
        return self.known[name][1] if name in self.known else None


class FakeOrganizations:
    def all(self) -> list[tuple[str, str]]:
        return [("default", "default")]

    def add(self, identity: str, name: str) -> None:
        raise NotImplementedError


class FakeConnectors:
    def all(self, organization: str) -> list[Connector]:
        return []

    def get(self, organization: str, identity: str) -> Connector | None:
        return None

    def add(self, connector: Connector, actor: str) -> None:
        raise NotImplementedError

    def replace(self, connector: Connector, actor: str) -> None:
        raise NotImplementedError

    def remove(self, organization: str, guid: str, actor: str) -> None:
        raise NotImplementedError

    def save_all(self, added: Sequence[Connector], replaced: Sequence[tuple[Connector, Connector]], actor: str) -> None:
        raise NotImplementedError

    def validated(self, seen: Connector, after: Connector, record: Mapping[str, Any], actor: str) -> None:
        raise NotImplementedError

    def last_validation(self, organization: str, guid: str) -> Mapping[str, Any] | None:
        return None

    def changes(self, organization: str, limit: int = 100) -> list[Change]:
        return []

    def version(self) -> int:
        return 0


class NoDrift:
    """ports.DriftLog of a gateway to which nothing happened."""

    def events(self, organization: str, domain: str | None = None, limit: int = 1000) -> list[Drift]:
        return []

    def remembered(self, organization: str, domain: str | None = None, limit: int = 1000) -> list[Remembered]:
        return []


class NothingTold:
    """ports.AlertLog of a gateway that has told nothing."""

    def all(self, organization: str, limit: int) -> list[Alert]:
        return []

    def add_test(self, organization: str, channels: Sequence[Channel], now: datetime) -> None:
        raise NotImplementedError


class NothingObserved:
    """ports.ObservationLog of a gateway that tried no mail yet."""

    def days(self, organization: str, since: date, domains: Sequence[str] = ()) -> dict[str, list[Day]]:
        return {}


class NobodyWatched:
    """ports.WatchLog of a gateway that probed nobody yet."""

    def watched(self, organization: str, domains: Sequence[str] = ()) -> dict[str, Watched]:
        return {}

    def changes(self, organization: str, domain: str, limit: int) -> list[SeenChange]:
        return []


@dataclass
class FakeDestinations:
    kept: list[DestinationRow] = field(default_factory=list)
    asked: list[tuple[str | None, int]] = field(default_factory=list)

    def rows(self, domain: str | None = None, limit: int = 1000) -> list[DestinationRow]:
        self.asked.append((domain, limit))
        return self.kept[:limit]


class FakeReports:
    """What FakeTraces and FakeQueue have, as reports read it: one held message, and another that was delivered in plaintext."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime, str | None]] = []
        events = tuple(event for event in FakeTraces().events(WAITING) if event.event == "DEFER")
        delivered = {
            "at": rfc3339(NOW - timedelta(hours=1)),
            "domain": "example.com",
            "connector_name": "Default",
            "host": "mx.example.com",
            "facts": {"starttls_offered": False},
            "verdict": {"protection": "plain"},
            "recipients": [{"address": "carol@example.com", "fate": "delivered"}],
        }
        self.stories = [Told(WAITING, 12_600, events, (mismatch_attempt(),)), Told(DELIVERED, 12_600, (), (delivered,))]

    def told(self, start: datetime, end: datetime, domain: str | None = None) -> Iterator[Told]:
        self.asked.append((start, end, domain))
        yield from self.stories

    def waiting(self, queued_before: datetime, domain: str | None = None) -> Iterator[Waits]:
        items = (x for x in FakeQueue().items if x.group.queued_at < queued_before and domain in (None, x.group.domain))
        yield from (Waits(x.group.domain, x.state, x.group.queued_at, x.group.last_finding) for x in items)


class NothingMoved:
    """ports.MoveStore in which no connector was ever moved."""

    def all(self, organization: str) -> list[Move]:
        return []

    def under_way(self) -> list[Move]:
        return []

    def carry_out(self, change: MoveChange, now: datetime, actor: str, *, alert: bool = False) -> bool:
        raise AssertionError("nothing is moved here")

    def days(self, move: Move) -> dict[str, list[Day]]:
        return {}

    def held(self, move: Move, limit: int) -> list[Held]:
        return []

    def try_again(self, move: Move, due: datetime) -> int:
        return 0


@dataclass
class FakeStore:
    connectors: FakeConnectors = field(default_factory=FakeConnectors)
    queue: FakeQueue = field(default_factory=FakeQueue)
    traces: FakeTraces = field(default_factory=FakeTraces)
    users: FakeUsers = field(default_factory=FakeUsers)
    organizations: FakeOrganizations = field(default_factory=FakeOrganizations)
    exceptions: ExceptionStore = field(default_factory=FakeExceptions)
    moves: MoveStore = field(default_factory=NothingMoved)
    rules: RuleStore = field(default_factory=FakeRules)
    drift: DriftLog = field(default_factory=NoDrift)
    alerts: AlertLog = field(default_factory=NothingTold)
    observations: ObservationLog = field(default_factory=NothingObserved)
    watched: WatchLog = field(default_factory=NobodyWatched)
    destinations: FakeDestinations = field(default_factory=FakeDestinations)
    reports: FakeReports = field(default_factory=FakeReports)
    closed: bool = False

    def close(self) -> None:
        self.closed = True


def world(**settings: Any) -> Context:
    """A context with the fake store in it."""
    return Context(preset_settings=Settings.model_validate(settings), preset_store=FakeStore(), moment=NOW)
