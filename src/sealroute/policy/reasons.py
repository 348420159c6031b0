"""Why mail was held or returned: one closed catalogue of reasons, each with its code, sentence, side and remedy.

A reason is named by its keyword, which stands in queue, trace, NDR, metrics and docs alike.  While mail is queued the code
is 4.x, in an NDR the same number as 5.x.  Codes 4/5.7.321-325 and their sentences are Exchange's; those marked ours fill
gaps Exchange leaves open.  `Finding` is a reason met at one moment, with its precise cause.

Elsewhere: which finding leads to which reason is decided in policy/decide and policy/verdict; NDR wording in proto/dsn.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sealroute.base.status import Enhanced


class Side(Enum):
    """Whose administrator can fix it."""

    RECIPIENT = "the recipient's mail administrator"
    OURS = "our mail administrator"
    SENDER = "the sender"
    NETWORK = "nobody in particular: the network between, usually passing"


class TlsRptResult(Enum):
    """Result types of TLS reports [RFC 8460 §4.3]."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


class Reason(Enum):
    """Every reason; the value is the keyword."""

    # DANE and DNSSEC
    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_EXPIRED = "certificate-expired"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    DANE_REQUIRED = "dane-required"
    RESOLVER_CANNOT_VALIDATE = "resolver-cannot-validate"
    # MTA-STS
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_REQUIRED = "sts-required"
    STS_MX_MISMATCH = "sts-mx-mismatch"
    STS_CERTIFICATE = "sts-certificate-invalid"
    # the connector's own TlsSettings
    TLS_REQUIRED = "tls-required"
    TLS_CERTIFICATE = "tls-certificate-invalid"
    TLS_DOMAIN_MISMATCH = "tls-domain-mismatch"
    # REQUIRETLS
    REQUIRETLS_UNSUPPORTED = "requiretls-unsupported"
    # next hops and network
    DNS_FAILED = "dns-query-failed"
    NULL_MX = "null-mx"
    NO_SUCH_DOMAIN = "no-such-domain"
    NO_ADDRESS = "no-address"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    CONNECT_TIMEOUT = "connection-timed-out"
    CONNECT_REFUSED = "connection-refused"
    CONNECTION_LOST = "connection-lost"
    PROTOCOL_ERROR = "protocol-error"
    ROUTING_LOOP = "routing-loop"
    MESSAGE_EXPIRED = "message-expired"
    # what the peer or the message says
    HOST_REJECTED = "host-rejected"
    REJECTED = "rejected"
    TRY_LATER = "try-later"
    FEATURE_UNSUPPORTED = "feature-unsupported"
    SUSPENDED = "suspended"

    @property
    def facts(self) -> ReasonFacts:
        return CATALOGUE[self]


@dataclass(frozen=True, slots=True)
class ReasonFacts:
    """The unchanging part of a reason."""

    basic: int
    """The basic SMTP code while queued; 550 once returned."""
    enhanced: Enhanced
    """The enhanced code while queued (class 4), or the final one (class 5) for reasons that are final at once."""
    sentence: str
    side: Side
    fix: str
    security: bool
    """True when a demanded proof is missing: shown before network reasons [ADR 7.7]."""


def _facts(code: str, sentence: str, side: Side, fix: str, *, security: bool = False, basic: int | None = None) -> ReasonFacts:
    enhanced = Enhanced.parse(code)
    if enhanced is None:
        raise ValueError(code)
    return ReasonFacts(basic or (450 if enhanced.klass == 4 else 550), enhanced, sentence, side, fix, security)


_R, _O, _S, _N = Side.RECIPIENT, Side.OURS, Side.SENDER, Side.NETWORK

CATALOGUE: dict[Reason, ReasonFacts] = {
    Reason.STARTTLS_NOT_SUPPORTED: _facts(
        "4.7.321",
        "Destination mail server must support TLS to receive mail.",
        _R,
        "Offer STARTTLS with TLS 1.2 or newer on every host of the MX record, or remove the TLSA records that promise it.",
        security=True,
    ),
    Reason.CERTIFICATE_EXPIRED: _facts(
        "4.7.322",
        "Destination mail server's certificate is expired.",
        _R,
        "Install a current certificate; with DANE-TA (usage 2) its dates count.",
        security=True,
    ),
    Reason.TLSA_INVALID: _facts(
        "4.7.323",
        "The domain failed DANE validation.",
        _R,
        "Publish a TLSA record that matches the certificate in use (best `3 1 1`), or install the certificate that the "
        "published records name.",
        security=True,
    ),
    Reason.DNSSEC_INVALID: _facts(
        "4.7.324",
        "Destination domain returned invalid DNSSEC records",
        _R,
        "Repair the DNSSEC chain of the name given: signatures, DS and DNSKEY records, and name servers that answer TLSA "
        "queries.",
        security=True,
    ),
    Reason.CERTIFICATE_HOST_MISMATCH: _facts(
        "4.7.325",
        "Remote certificate MUST have a common name or subject alternative name matching the hostname (DANE)",
        _R,
        "With DANE-TA (usage 2) the certificate must name the MX host; reissue it, or publish a `3 1 1` record.",
        security=True,
    ),
    Reason.DANE_REQUIRED: _facts(
        "4.7.326",
        "This connector requires DANE and the destination does not offer it.",
        _R,
        "The destination signs its zone with DNSSEC and publishes a TLSA record for every MX host; or the connector's "
        "SmtpDaneMode is set to Opportunistic.",
        security=True,
    ),
    Reason.RESOLVER_CANNOT_VALIDATE: _facts(
        "4.7.324",
        "Our DNS resolver cannot tell valid DNSSEC from invalid, so nothing can be proven.",
        _O,
        "Run `sealroute resolver check`, which says what is wrong; repair the resolver, the trust anchor or the clock.",
        security=True,
    ),
    Reason.STS_POLICY_FETCH_ERROR: _facts(
        "4.7.327",
        "The destination's MTA-STS policy could not be fetched.",
        _R,
        "Serve the policy at https://mta-sts.<domain>/.well-known/mta-sts.txt with a valid certificate.",
        security=True,
    ),
    Reason.STS_REQUIRED: _facts(
        "4.7.328",
        "This connector requires MTA-STS and the destination has no policy in enforce mode.",
        _R,
        "The destination publishes an MTA-STS policy with `mode: enforce`; or the connector's MtaStsMode is set to "
        "Opportunistic.",
        security=True,
    ),
    Reason.STS_MX_MISMATCH: _facts(
        "4.4.8",
        "MX hosts of {domain} failed MTA-STS validation",
        _R,
        "List every MX host in the MTA-STS policy and give the policy a new id; a wildcard covers one label only.",
        security=True,
    ),
    Reason.STS_CERTIFICATE: _facts(
        "4.7.5",
        "Remote certificate failed MTA-STS validation. Reason: {detail}",
        _R,
        "Install a certificate from a public authority that is valid today and names the MX host.",
        security=True,
    ),
    Reason.TLS_REQUIRED: _facts(
        "4.4.317",
        "Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required to send mail]",
        _R,
        "Offer STARTTLS with TLS 1.2 or newer; or remove TlsSettings from the connector.",
        security=True,
    ),
    Reason.TLS_CERTIFICATE: _facts(
        "4.7.320",
        "Certificate validation failed",
        _R,
        "Install a certificate from a public authority that is valid today; or change the connector's TlsSettings.",
        security=True,
    ),
    Reason.TLS_DOMAIN_MISMATCH: _facts(
        "4.4.317",
        "Cannot connect to remote server [Message=SubjectMismatch {detail}]",
        _R,
        "The certificate must name the connector's TlsDomain; correct whichever of the two is wrong.",
        security=True,
    ),
    Reason.REQUIRETLS_UNSUPPORTED: _facts(
        "5.7.30",
        "REQUIRETLS support required",
        _R,
        "The sender asked that every server on the way support REQUIRETLS and be authenticated (RFC 8689); send without "
        "that wish, or ask the recipient's side to support it.",
        security=True,
    ),
    Reason.DNS_FAILED: _facts(
        "4.4.312",
        "DNS query failed",
        _N,
        "Check the name servers of the domain and our resolver.",
    ),
    Reason.NULL_MX: _facts(
        "5.1.10",
        "Recipient domain does not accept mail (null MX)",
        _S,
        "Check the address: the domain says that it receives no mail (RFC 7505).",
        basic=556,
    ),
    Reason.NO_SUCH_DOMAIN: _facts(
        "5.4.310",
        "DNS domain does not exist",
        _S,
        "Check the address for a typing mistake in the domain.",
    ),
    Reason.NO_ADDRESS: _facts(
        "4.4.312",
        "DNS query failed: no mail host of the domain has an address",
        _R,
        "Publish A or AAAA records for the hosts of the MX record.",
    ),
    Reason.ADDRESS_NOT_ALLOWED: _facts(
        "4.4.312",
        "Our settings do not allow to connect to the mail host's address",
        _R,
        "Publish public addresses for the hosts of the MX record. For a host inside our own network, our administrator sets "
        "delivery.allow_private_destinations.",
    ),
    Reason.CONNECT_TIMEOUT: _facts(
        "4.4.315",
        "Connection timed out",
        _N,
        "Check that the destination's port is reachable from here.",
    ),
    Reason.CONNECT_REFUSED: _facts(
        "4.4.316",
        "Connection refused",
        _R,
        "Check that the destination's mail server is running and admits us.",
    ),
    Reason.CONNECTION_LOST: _facts(
        "4.4.318",
        "Connection was closed abruptly",
        _R,
        "Look for our address in the destination's mail server log.",
    ),
    Reason.PROTOCOL_ERROR: _facts(
        "4.5.0",
        "The destination mail server broke the SMTP protocol",
        _R,
        "Look at the reply given in the details; the server or a device before it misbehaves.",
    ),
    Reason.ROUTING_LOOP: _facts(
        "5.4.14",
        "Routing loop detected",
        _O,
        "The message passed too many servers; look for a pair that sends mail to each other.",
        basic=554,
    ),
    Reason.MESSAGE_EXPIRED: _facts(
        "5.4.300",
        "Message expired",
        _N,
        "Look at the last reason in the details.",
    ),
    Reason.HOST_REJECTED: _facts(
        "4.0.0",
        "The destination mail server does not take mail from us",
        _R,
        "The server's own reply says why; it refused the connection, whatever the message.",
    ),
    Reason.REJECTED: _facts(
        "5.0.0",
        "The destination mail server rejected the message",
        _R,
        "The server's own reply says why.",
    ),
    Reason.TRY_LATER: _facts(
        "4.0.0",
        "The destination mail server asked to try again later",
        _R,
        "Usually nothing: it passes. If it lasts, the server's own reply says why.",
    ),
    Reason.FEATURE_UNSUPPORTED: _facts(
        "5.6.7",
        "The destination mail server lacks a feature that this message needs",
        _S,
        "Send the message in a form that the destination supports; see the details.",
    ),
    Reason.SUSPENDED: _facts(
        "4.2.1",
        "The message was put on hold by an administrator",
        _O,
        "`sealroute queue release` lets it go on.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason met at one moment: with the precise cause, and the host it concerns if any."""

    reason: Reason
    detail: str = ""
    """The precise cause, in one clause; for HOST_REJECTED, REJECTED and TRY_LATER the peer's reply."""
    host: str = ""
    domain: str = ""
    ip: str = ""
    code: Enhanced | None = None
    """The peer's own enhanced code, where it gave one."""
    basic: int | None = None
    """The peer's own basic code, where it gave one."""

    @property
    def security(self) -> bool:
        return self.reason.facts.security

    @property
    def final(self) -> bool:
        """True when this reason returns the mail at once."""
        return self.reason.facts.enhanced.klass == 5

    def enhanced(self, klass: int) -> Enhanced:
        """The code as temporary (4) or final (5)."""
        return (self.code or self.reason.facts.enhanced).as_class(klass)

    def words(self) -> str:
        """The reason and its precise cause, as one tells them to a person."""
        facts = self.reason.facts
        if "{detail}" in facts.sentence:
            return facts.sentence.replace("{detail}", self.detail)
        sentence = facts.sentence.replace("{domain}", self.domain)
        return f"{sentence.rstrip('.')}: {self.detail}" if self.detail else sentence

    def sentence(self) -> str:
        """The same, with the keyword before it for our own and Exchange's DANE reasons."""
        code = self.reason.facts.enhanced
        keyword = f"{self.reason.value}: " if code.subject == 7 and 321 <= code.detail <= 328 else ""
        return keyword + self.words()

    def queued(self) -> str:
        """As shown while the mail waits: `450 4.7.323 tlsa-invalid: ...`."""
        return f"{self._basic(4)} {self.enhanced(4)} {self.sentence()}"

    def returned(self) -> str:
        """As shown in an NDR: `550 5.7.323 tlsa-invalid: ...`."""
        return f"{self._basic(5)} {self.enhanced(5)} {self.sentence()}"

    def _basic(self, klass: int) -> int:
        for code in (self.basic, self.reason.facts.basic):
            if code is not None and code // 100 == klass:
                return code
        return klass * 100 + 50
