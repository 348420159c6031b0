"""One delivery attempt: the frozen record that trace, TLS reports, NDRs, metrics and readiness all read.

An attempt is one group of recipients (one message, one recipient domain) tried at one host address, or held before any
host could be tried.  Nothing that reads it decides again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from sealroute.base.status import Reply
from sealroute.policy.evidence import Evidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Finding, TlsRptResult
from sealroute.policy.requirement import HandshakeFacts, Requirement, Verdict
from sealroute.policy.transport.apply import RuleEffect


class Fate(Enum):
    """What became of one recipient in one attempt."""

    DELIVERED = "delivered"
    """The peer took responsibility."""
    DEFERRED = "deferred"
    """Still ours; tried again."""
    FAILED = "failed"
    """Final: goes into an NDR."""


@dataclass(frozen=True, slots=True)
class RecipientFate:
    """One recipient's outcome."""

    address: str
    fate: Fate
    reply: Reply | None = None
    finding: Finding | None = None
    """Why not, for DEFERRED and FAILED."""
    dsn_passed_on: bool = True
    """For DELIVERED: False when the peer does not speak DSN, so that a wished success notice is ours to send."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations of an attempt's parts in milliseconds; None when the part did not happen (e.g. a reused connection)."""

    resolve_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    transaction_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, or one hold before a try."""

    at: datetime
    number: int
    """1 for the group's first run through its hosts; all addresses tried in one run share it."""
    connector_guid: str
    connector_name: str
    smtp_dane_mode: SmtpDaneMode
    mta_sts_mode: MtaStsMode
    domain: str
    rows: tuple[str, ...]
    """The table rows that decided, of this host, or of the next hop when no host was tried."""
    finding: Finding | None
    """Why it did not succeed; None when every recipient was delivered."""
    host: str = ""
    ip: str = ""
    port: int = 25
    evidence: Evidence | None = None
    requirement: Requirement | None = None
    facts: HandshakeFacts | None = None
    verdict: Verdict | None = None
    reused_connection: bool = False
    replies: tuple[tuple[str, Reply], ...] = ()
    """(what was said, what came back), in order."""
    recipients: tuple[RecipientFate, ...] = ()
    """Only those this attempt decided."""
    timings: Timings = field(default_factory=Timings)
    reported: tuple[TlsRptResult, ...] = ()
    """TLS-report results of findings made before any handshake, held for or not."""
    exception: str = ""
    """The timed exception in force for this domain: the modes are its modes; empty: the connector's own."""
    transport_rules: tuple[RuleEffect, ...] = ()
    """The transport rules that applied to the message, in their order; the modes are what they made of the connector's."""

    @property
    def tls_report(self) -> tuple[TlsRptResult, ...]:
        """Every TLS-report result this attempt contributes, those of the handshake included [RFC 8460 §4.3]."""
        verdict = self.verdict
        checks = (verdict.dane, verdict.sts) if verdict is not None else ()
        judged = (check.result for check in checks if check is not None and check.result is not None)
        return tuple(dict.fromkeys((*self.reported, *judged)))
