"""The closed sets an administrator chooses from, in Exchange's spelling; `ReportOnly` and MTA-STS `Mandatory` are ours;
and what a message may ask for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SmtpDaneMode(Enum):
    """How strictly DANE is demanded of a next hop."""

    NONE = "None"
    """Never look."""
    REPORT_ONLY = "ReportOnly"
    """Look, judge and record as Opportunistic would; never hold because of it."""
    OPPORTUNISTIC = "Opportunistic"
    """[RFC 7672]: absent - the other settings decide; present - must hold; unknown - hold."""
    MANDATORY = "Mandatory"
    """Only hosts with a matching, usable, DNSSEC-secure TLSA record."""


class MtaStsMode(Enum):
    """How strictly MTA-STS is demanded of a next hop."""

    NONE = "None"
    """Never look."""
    REPORT_ONLY = "ReportOnly"
    """Look, judge and record as Opportunistic would; never hold because of it."""
    OPPORTUNISTIC = "Opportunistic"
    """[RFC 8461]: an `enforce` policy must hold, `testing` is reported."""
    MANDATORY = "Mandatory"
    """Only under an `enforce` policy that holds."""


class TlsSettings(Enum):
    """What the connector itself asks of TLS, whatever the destination publishes."""

    ENCRYPTION_ONLY = "EncryptionOnly"
    """TLS, certificate not checked."""
    CERTIFICATE_VALIDATION = "CertificateValidation"
    """TLS, and the chain leads to a trusted root."""
    DOMAIN_VALIDATION = "DomainValidation"
    """TLS, chain, and the certificate names TlsDomain."""


class ConnectorType(Enum):
    """Whom the connector leads to."""

    PARTNER = "Partner"
    ON_PREMISES = "OnPremises"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the message itself asks of transport security [RFC 8689]."""

    require_tls: bool = False
    tls_required_no: bool = False
