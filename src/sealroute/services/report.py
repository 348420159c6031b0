"""report: what the trace adds up to: transit security, mail that waits long, connectors [Exchange Online].

Pure: counts over what ports.ReportSource hands in, which may be far more than fits in memory; only the sums are kept.
Attempts and events are read, nothing is decided again: how a message went is its attempt's `protection`, why it did not go
is the reason that delivery gave.

A message counts once for each recipient domain, in each row it belongs to, however often it was tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sealroute.base.errors import InputError
from sealroute.base.names import address_domain
from sealroute.base.times import parse_rfc3339
from sealroute.policy.attempt import Fate
from sealroute.policy.reasons import Finding, Reason
from sealroute.policy.requirement import Protection
from sealroute.ports import Told, TraceEvent, Waits

DEFAULT_SPAN = timedelta(days=7)
WAITS_LONG = timedelta(hours=1)
ALERT_AT = 200
"""So many messages that wait for longer than WAITS_LONG are an alert [Exchange Online]."""

DANE, STS, TLS, REQUIRETLS = "DANE with DNSSEC", "MTA-STS", "TLS", "REQUIRETLS"
SECURITY_TYPES: Mapping[Reason, str] = {
    Reason.CERTIFICATE_EXPIRED: DANE,
    Reason.TLSA_INVALID: DANE,
    Reason.DNSSEC_INVALID: DANE,
    Reason.CERTIFICATE_HOST_MISMATCH: DANE,
    Reason.DANE_REQUIRED: DANE,
    Reason.RESOLVER_CANNOT_VALIDATE: DANE,
    Reason.STS_POLICY_FETCH_ERROR: STS,
    Reason.STS_REQUIRED: STS,
    Reason.STS_MX_MISMATCH: STS,
    Reason.STS_CERTIFICATE: STS,
    Reason.TLS_REQUIRED: TLS,
    Reason.TLS_CERTIFICATE: TLS,
    Reason.TLS_DOMAIN_MISMATCH: TLS,
    Reason.REQUIRETLS_UNSUPPORTED: REQUIRETLS,
}
"""Which mechanism a reason belongs to; STARTTLS_NOT_SUPPORTED to whichever demanded TLS, as the attempt recorded it."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A row of *Messages blocked*."""

    domain: str
    security_type: str
    error: str
    count: int


@dataclass(slots=True)
class NoTls:
    """A row of *Recipient domains not supporting TLS*."""

    domain: str
    sent: int = 0
    """Messages that went in plaintext."""
    not_sent: int = 0
    """Messages that met a server without TLS and did not go in plaintext."""
    host: str = ""
    why: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True)
class SecurityReport:
    """*Outbound messages in transit security*."""

    blocked: list[Blocked]
    sent: list[tuple[str, dict[str, int]]]
    """By day in UTC: how many went under each protection."""
    without_tls: list[NoTls]


def security(stories: Iterable[Told], connector: str = "") -> SecurityReport:
    """The three sections; with a connector's name, only of what went through it."""
    blocked: Counter[tuple[str, str, str]] = Counter()
    sent: Counter[tuple[str, str]] = Counter()
    plain: dict[str, NoTls] = {}
    for told in stories:
        attempts = [item for item in told.attempts if _through(item, connector)]
        blocked.update({key for event in told.events if (key := _blocked(event, attempts, connector)) is not None})
        deliveries = {(item["domain"], str(item["at"])[:10], _protection(item)) for item in attempts if _delivered(item)}
        sent.update((day, protection) for _, day, protection in deliveries)
        _note_plaintext(attempts, plain)
    rows = [Blocked(domain, kind, error, count) for (domain, kind, error), count in blocked.items()]
    rows.sort(key=lambda row: (-row.count, row.domain, row.security_type, row.error))
    by_day = [(day, {p.value: sent[day, p.value] for p in Protection}) for day in sorted({day for day, _ in sent})]
    domains = sorted(plain.values(), key=lambda row: (-row.sent - row.not_sent, row.domain))
    return SecurityReport(rows, by_day, domains)


def _through(attempt: Mapping[str, Any], connector: str) -> bool:
    return not connector or str(attempt.get("connector_name", "")).casefold() == connector.casefold()


def _delivered(attempt: Mapping[str, Any]) -> int:
    """How many recipients the peer took."""
    return sum(fate.get("fate") == Fate.DELIVERED.value for fate in attempt.get("recipients", ()))


def _protection(attempt: Mapping[str, Any]) -> str:
    return str(attempt.get("verdict", {}).get("protection", Protection.PLAIN.value))


def _blocked(event: TraceEvent, attempts: list[Mapping[str, Any]], connector: str) -> tuple[str, str, str] | None:
    """(domain, security type, error) of mail that waits or was returned because a proof is missing; None for other mail."""
    try:
        reason, domain = Reason(event.data.get("reason")), address_domain(event.recipient)
    except (ValueError, InputError):
        return None  # removed by hand, or a reason of another version
    own = [item for item in attempts if item["domain"] == domain]
    if not reason.facts.security or (connector and not own):
        return None
    kind = SECURITY_TYPES.get(reason) or _demanded(reason, own)
    # The same error has another code once the mail is returned; as one error it is shown with the code of mail that waits.
    _, code, words = (*event.description.split(" ", 2), "", "", "")[:3]
    code = "4" + code[1:] if reason.facts.enhanced.klass == 4 else code
    return domain, kind, f"{code} {words}"


def _demanded(reason: Reason, attempts: list[Mapping[str, Any]]) -> str:
    """What demanded the TLS that was missing."""
    for item in reversed(attempts):
        if item.get("finding", {}).get("reason") == reason.value:
            need = item.get("requirement", {})
            for name, kind in (("dane", DANE), ("sts", STS)):
                if need.get(name, {}).get("enforced"):
                    return kind
            return REQUIRETLS if need.get("authenticated") else TLS
    return TLS


def _note_plaintext(attempts: list[Mapping[str, Any]], plain: dict[str, NoTls]) -> None:
    """Take in one message's meetings with servers that speak no TLS."""
    met: dict[str, bool] = {}
    for item in attempts:
        facts = item.get("facts")
        if facts is None or facts.get("tls_version"):
            continue
        domain, at = item["domain"], str(item["at"])
        met[domain] = met.get(domain, False) or bool(_delivered(item))
        row = plain.setdefault(domain, NoTls(domain))
        why = facts.get("handshake_error") or ("" if facts.get("starttls_offered") else "STARTTLS is not offered")
        if why and at >= row.last:
            row.host, row.why, row.last = str(item.get("host", "")), str(why), at
    for domain, sent in met.items():
        plain[domain].sent += sent
        plain[domain].not_sent += not sent


# ---------------------------------------------------------------------------------------------------------- connectors


@dataclass(slots=True)
class ConnectorVolume:
    """What went through one connector, and in the cmdlet's report to one domain."""

    connector: str
    domain: str = ""
    messages: int = 0
    recipients: int = 0
    size_bytes: int = 0
    tls: Counter[str] = field(default_factory=Counter)
    """Messages by TLS version, as the handshake named it; empty: without TLS."""
    blocked: int = 0
    """Messages that waited or were returned because a proof was missing."""


def connectors(stories: Iterable[Told], connector: str = "", *, by_domain: bool = False) -> list[ConnectorVolume]:
    """Volume and TLS versions, by connector; with `by_domain` also by recipient domain."""
    rows: dict[tuple[str, str], ConnectorVolume] = {}
    for told in stories:
        attempts = [item for item in told.attempts if _through(item, connector)]
        for domain, name in {(item["domain"], str(item["connector_name"])) for item in attempts}:
            own = [item for item in attempts if item["domain"] == domain and item["connector_name"] == name]
            key = name, domain if by_domain else ""
            row = rows.setdefault(key, ConnectorVolume(*key))
            taken = [item for item in own if _delivered(item)]
            if taken:
                row.messages += 1
                row.recipients += sum(map(_delivered, taken))
                row.size_bytes += told.size_bytes
                row.tls[str(taken[0].get("facts", {}).get("tls_version", ""))] += 1
            keys = (_blocked(event, own, name) for event in told.events)
            row.blocked += any(key is not None for key in keys)
    return sorted(rows.values(), key=lambda row: (-row.messages, row.connector, row.domain))


# -------------------------------------------------------------------------------------------------------- waiting mail


@dataclass(slots=True)
class Queued:
    """What waits for one recipient domain for longer than the span asked for."""

    domain: str
    count: int
    suspended: int
    oldest: datetime
    finding: Finding | None
    """Why the oldest waits; None: not tried yet."""


def queued(groups: Iterable[Waits]) -> list[Queued]:
    """By recipient domain, the most first."""
    rows: dict[str, Queued] = {}
    for group in groups:
        row = rows.get(group.domain)
        if row is None:
            row = rows[group.domain] = Queued(group.domain, 0, 0, group.queued_at, group.finding)
        row.count += 1
        row.suspended += group.state.value == "suspended"
        if group.queued_at < row.oldest:
            row.oldest, row.finding = group.queued_at, group.finding
    return sorted(rows.values(), key=lambda row: (-row.count, row.domain))


def last_of(row: NoTls) -> datetime | None:
    """When a server without TLS was met last."""
    return parse_rfc3339(row.last) if row.last else None


def versions(rows: Iterable[ConnectorVolume]) -> Iterator[str]:
    """Every TLS version that occurs, the newest first, and last, as an empty text, none."""
    yield from sorted({version for row in rows for version in row.tls}, reverse=True)
