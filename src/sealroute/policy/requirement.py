"""What must hold for one host before a message may be handed to it, and what is known after the handshake.

`decide` makes a Requirement, `verdict` holds HandshakeFacts against it.  Both are frozen values; a connection may be used
again only for the same address and an equal `Requirement.key` [ADR 7.5].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import blake2b

from sealroute.base.dnsdata import Tlsa
from sealroute.base.status import Reply
from sealroute.policy.reasons import Finding, TlsRptResult
from sealroute.proto.mtasts.policy import StsMode


@dataclass(frozen=True, slots=True)
class DaneCheck:
    """The certificate must match one of these TLSA records."""

    base: str
    """TLSA base name; also the SNI [RFC 7672 §8.1]."""
    records: tuple[Tlsa, ...]
    """The whole secure RRset, unusable records included (digest agility needs them)."""
    names: tuple[str, ...]
    """Reference names for usage 2, base name first [RFC 7672 §3.2.2]."""
    enforced: bool = True
    """False in ReportOnly: judged and recorded, never a reason to hold."""


@dataclass(frozen=True, slots=True)
class StsCheck:
    """The host must be one the policy names, with a certificate of the web PKI for its name."""

    domain: str
    mode: StsMode
    policy_id: str
    mx_matches: bool
    enforced: bool = True
    """False in testing mode, in ReportOnly, and for a host that DANE authenticates."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """All that must hold for one host, and which rows of the table asked for it."""

    host: str
    """The host's name as MX or smart host; the name to check; an IP address when there is no name."""
    rows: tuple[str, ...]
    tls_required: bool = False
    sni: str | None = None
    dane: DaneCheck | None = None
    sts: StsCheck | None = None
    chain: bool = False
    """TlsSettings CertificateValidation or DomainValidation: the chain must lead to a trusted root."""
    certificate_names: tuple[str, ...] = ()
    """TlsSettings DomainValidation: the certificate must name one of these; `*.x` covers one label."""
    authenticated: bool = False
    """REQUIRETLS: DANE or MTA-STS must authenticate the host, and the host must offer REQUIRETLS [RFC 8689 §4.2.1]."""
    dane_shadow: bool | None = None
    """False: Mandatory DANE would be refused whatever the handshake; True: it hangs on `dane`; None: not looked."""
    sts_shadow: bool | None = None
    """The same for Mandatory MTA-STS and `sts`."""
    exception: str = ""
    """The timed exception under which it was made: its connections serve nothing else."""
    transport_rules: tuple[str, ...] = ()
    """The transport rules under which it was made, with their versions: its connections serve nothing else."""
    key: str = field(init=False, repr=False, compare=False)
    """Equal for requirements that an open connection may serve alike; the recipient domain is not part of it."""

    def __post_init__(self) -> None:
        dane = self.dane
        names = dane.names if dane and any(record.usage == 2 for record in dane.records) else ()
        sts = self.sts
        parts = (
            self.host, self.tls_required, self.sni, self.chain, self.certificate_names, self.authenticated,
            dane and (dane.base, tuple(map(str, dane.records)), names, dane.enforced),
            sts and (sts.mode.value, sts.mx_matches, sts.enforced),
            self.dane_shadow, self.sts_shadow, self.exception, self.transport_rules,
        )  # fmt: skip
        object.__setattr__(self, "key", blake2b(repr(parts).encode(), digest_size=16).hexdigest())


class Protection(Enum):
    """How a message travelled, as the report "Messages sent" counts it."""

    DANE = "dane"
    MTA_STS = "mta-sts"
    TLS = "tls"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class HandshakeFacts:
    """What one connection showed up to and including its TLS handshake; nothing is judged here."""

    at: datetime
    starttls_offered: bool = False
    starttls_reply: Reply | None = None
    """The reply to STARTTLS; None when it was not sent."""
    handshake_error: str = ""
    """Why the handshake failed, in the TLS library's words; empty when it succeeded or was not tried."""
    tls_version: str = ""
    cipher: str = ""
    chain: tuple[bytes, ...] = ()
    """Certificates as presented, leaf first, DER."""

    @property
    def encrypted(self) -> bool:
        return bool(self.tls_version)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One mechanism's judgement of one handshake."""

    satisfied: bool
    result: TlsRptResult | None = None
    """The TLS-report result type when it failed [RFC 8460 §4.3]."""
    detail: str = ""
    matched: str = ""
    """What satisfied it: the TLSA record, or the name in the certificate."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the caller must do with this connection, and why."""

    finding: Finding | None
    """None: send.  Otherwise: do not send over this connection; the host is ruled out for this reason."""
    protection: Protection
    dane: CheckResult | None = None
    """None when DANE does not apply or was not looked at."""
    sts: CheckResult | None = None
    tls_settings: CheckResult | None = None
    would_satisfy_dane: bool | None = None
    """Whether SmtpDaneMode Mandatory would have let this message go; None when DANE was not looked at."""
    would_satisfy_sts: bool | None = None
    retry_in_plaintext: bool = False
    """The handshake failed and nothing demands TLS: dial once more without STARTTLS [ADR 7.4]."""
