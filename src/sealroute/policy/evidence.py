"""What DNS and HTTPS said about one next hop, each part with its proof.

Gathered by services/gather, which does the I/O; read by policy/decide, which does none.  A part that was not looked up
is None or an empty tuple and means "not asked", never "absent".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sealroute.base.dnsdata import Answer, Mx, Tlsa
from sealroute.proto.mtasts.policy import StsPolicy
from sealroute.proto.mtasts.txt import StsTxt


@dataclass(frozen=True, slots=True)
class TlsaLookup:
    """One TLSA query: the base name (without `_25._tcp.`) and what came back."""

    base: str
    answer: Answer[Tlsa]


@dataclass(frozen=True, slots=True)
class HostEvidence:
    """One host that may receive the mail."""

    name: str
    """As the MX record, the smart host or the domain itself names it; an IP address in text when that was given."""
    preference: int = 0
    is_literal: bool = False
    """True for an IP address or CIDR block: no name, so neither DANE nor a name check can hold."""
    literal_addresses: tuple[str, ...] = ()
    a: Answer[str] | None = None
    aaaa: Answer[str] | None = None
    tlsa: tuple[TlsaLookup, ...] = ()
    """In the order asked; empty when the precondition for asking was not met [RFC 7672 §2.2]."""
    from_mx: bool = True
    """False when no MX record named it (smart host by name, or the domain itself by implicit MX)."""


class HopKind(Enum):
    """Why these hosts are the next hop."""

    MX = "mx"
    IMPLICIT_MX = "implicit-mx"
    SMART_HOST = "smart-host"


@dataclass(frozen=True, slots=True)
class Hop:
    """One name whose mail hosts we looked for: the recipient domain, or one smart host."""

    name: str
    kind: HopKind
    mx: Answer[Mx] | None
    """None when MX records were not asked for (`[name]`, IP address, CIDR)."""
    hosts: tuple[HostEvidence, ...]


class StsSource(Enum):
    """Where the policy in force came from."""

    FETCHED = "fetched"
    CACHED = "cached"
    NONE = "none"


class FetchFailure(Enum):
    """Why a policy could not be fetched; the split that TLS reports make [RFC 8460 §4.3.2.1]."""

    FETCH_ERROR = "sts-policy-fetch-error"
    """DNS, connection, HTTP status, redirect, media type, size or time."""
    WEBPKI_INVALID = "sts-webpki-invalid"
    """The policy host's certificate does not hold."""
    POLICY_INVALID = "sts-policy-invalid"
    """Fetched, and malformed."""


@dataclass(frozen=True, slots=True)
class StsEvidence:
    """What is known of one policy domain's MTA-STS, after cache and fetch [RFC 8461 §3-5]."""

    domain: str
    txt: Answer[str] | None
    """The `_mta-sts` TXT answer; None when only the cache was used without asking."""
    txt_parsed: StsTxt | None
    """The record set judged; None when the answer failed or was not asked for."""
    policy: StsPolicy | None
    """The policy in force, if any."""
    source: StsSource = StsSource.NONE
    policy_id: str = ""
    fetched_at: datetime | None = None
    expires_at: datetime | None = None
    failure: FetchFailure | None = None
    """Why the last fetch failed; a cached policy may be in force all the same."""
    failure_detail: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known about the way to one recipient domain under one connector."""

    domain: str
    """The recipient domain."""
    hops: tuple[Hop, ...]
    """One for MX routing; one per smart host otherwise, in the order tried."""
    sts: tuple[StsEvidence, ...]
    """One per policy domain that matters; empty when MTA-STS was not looked at."""
    gathered_at: datetime
    ttl_seconds: int
    """How long the plan made of it may be used again; 0 when anything failed."""
    port: int = 25
    resolver_trusted: bool = True
    """False when the resolver failed its canaries: no DNSSEC claim can be believed."""
    resolver_detail: str = ""
    """Why it is not trusted; empty when it is."""

    def sts_for(self, policy_domain: str) -> StsEvidence | None:
        return next((item for item in self.sts if item.domain == policy_domain), None)
