"""The harness of the scenario tests: signed zones, mail and policy hosts, and the gateway's own way through them.

A `Scenario` is the happy path with one difference: `contoso.test`, signed with NSEC, whose one MX host mx.contoso.test offers
STARTTLS with a certificate that its TLSA record 3 1 1 matches; no MTA-STS.  What a mode makes of it is one line, compared whole:

    delivered dane via mx.contoso.test
    delivered tls via mx2.contoso.test, after mx.contoso.test 450 4.7.323 tlsa-invalid; TLS report: validation-failure
    held 450 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records: MX contoso.test: ...
    returned 556 5.1.10 Recipient domain does not accept mail (null MX)

The world is real: NSD, libunbound, TCP, TLS handshakes, HTTPS.  The way is the gateway's: services/gather, policy/decide,
services/sessions and deliver, net/*.  Only the store, the clock and the notices are stand-ins.  All scenarios of a module share one
world; each has zones, addresses and certificates of its own.  So in definitions and results alike `contoso` and `fabrikam` stand
for names of the scenario's own, 192.0.2.0 to .3 for its addresses, port 25 for the one in use, `…` for what differs from run to run.

An expected line that ends with `…` leaves its end open.

Whatever the line says is held against what the mail host saw: delivered means exactly one copy, encrypted unless it says plain;
everything else means that nothing arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from simnet import policyhost
from simnet.mailhost import PROFILES, Behaviour
from simnet.nameserver import Fault
from simnet.signing import Signing
from tests.real.scenario_certs import Certify, alone

D, S = SmtpDaneMode, MtaStsMode
Modes = tuple[SmtpDaneMode, MtaStsMode]
GOOD, PLAIN = PROFILES["tls"], PROFILES["plain"]

# The sentences of the reasons, as an administrator reads them up to the precise cause.
NO_STARTTLS = "held 450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail: "
EXPIRED = "held 450 4.7.322 certificate-expired: Destination mail server's certificate is expired: "
TLSA_INVALID = "held 450 4.7.323 tlsa-invalid: The domain failed DANE validation: "
DNSSEC = "held 450 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records: "
NAME = (
    "held 450 4.7.325 certificate-host-mismatch: "
    "Remote certificate MUST have a common name or subject alternative name matching the hostname (DANE): "
)
REQUIRED = "held 450 4.7.326 dane-required: This connector requires DANE and the destination does not offer it: "
STS_FETCH = "held 450 4.7.327 sts-policy-fetch-error: The destination's MTA-STS policy could not be fetched: "
STS_REQUIRED = (
    "held 450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
)
STS_MX = "held 450 4.4.8 MX hosts of contoso.test failed MTA-STS validation: "
STS_CERT = "held 450 4.7.5 Remote certificate failed MTA-STS validation. Reason: "
NO_TLS = "held 450 4.4.317 Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required to send mail]: "
TLS_NAME = "held 450 4.4.317 Cannot connect to remote server [Message=SubjectMismatch the certificate is for "
BLIND = "held 450 4.7.324 resolver-cannot-validate: Our DNS resolver cannot tell valid DNSSEC from invalid, so nothing can be proven"
TLS_CHAIN = "held 450 4.7.320 Certificate validation failed: "
DNS_FAILED = "held 450 4.4.312 DNS query failed: "
NO_ADDRESS = "held 450 4.4.312 DNS query failed: no mail host of the domain has an address: "
REQUIRETLS = "returned 550 5.7.30 REQUIRETLS support required: "

DANE_OK = "delivered dane via mx.contoso.test"
STS_OK = "delivered mta-sts via mx.contoso.test"
TLS_OK = "delivered tls via mx.contoso.test"
PLAIN_OK = "delivered plain via mx.contoso.test"


def report(*results: str) -> str:
    """The part of a line that says what a TLS report would count as failures."""
    return f"; TLS report: {', '.join(results)}"


NO_ANSWER = "SERVFAIL: no name server gave a usable answer"
WRONG_KEY = f"{TLSA_INVALID}TLSA 3 1 1 …: it is not the digest or value of the server's key{report('validation-failure')}"
TLSA_UNKNOWN = f"{DNSSEC}TLSA _25._tcp.mx.contoso.test: {NO_ANSWER}{report('dnssec-invalid')}"
NO_RECORD = f"{REQUIRED}mx.contoso.test publishes no TLSA record{report('dane-required')}"


@dataclass(frozen=True, slots=True)
class Host:
    """One mail host: what is published for it, and how its servers behave.

    Each of `tlsa` is `usage selector matching [what]`; what: `leaf` (or nothing), `ca`, `root` (see scenario_certs), `wrong` for a
    digest of nothing, `=HEX` for those octets.
    """

    name: str = "mx.contoso.test"
    tlsa: tuple[str, ...] = ("3 1 1",)
    cert: Certify = field(default_factory=alone)
    servers: tuple[Behaviour | None, ...] = (GOOD,)
    """One IPv4 address each; None: nobody listens there."""
    ipv6: bool = False
    """An AAAA record, ::1, where a good server listens; at most one host of a module."""
    tlsa_at: tuple[str, ...] = ()
    """Owner names of the TLSA records, instead of `_25._tcp.` and the host's name."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An MTA-STS policy as published."""

    mx: tuple[str, ...] = ("mx.contoso.test",)
    mode: str = "enforce"
    max_age: int = 604800
    txt: tuple[str, ...] = ("v=STSv1; id=1;",)
    behaviour: policyhost.Behaviour = policyhost.Behaviour.OK
    certificate: policyhost.Certificate = policyhost.Certificate.GOOD
    text: str = ""
    """The whole file, instead of one made of the above."""
    domain: str = "contoso.test"
    hosted_at: str = ""
    """The policy host's name is an alias of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The happy path with one difference, and what each mode makes of it; a mode without a line is not run.

    The lines are of SmtpDaneMode, with MtaStsMode Opportunistic; those with `sts_` of MtaStsMode, with SmtpDaneMode Opportunistic.
    """

    name: str
    rows: str
    """Rows of the decision table that must have decided, under every mode that looks at their mechanism."""
    both: str = ""
    """Under Opportunistic and Mandatory alike."""
    opportunistic: str = ""
    mandatory: str = ""
    none: str = ""
    report_only: str = ""
    sts_mandatory: str = ""
    sts_none: str = ""
    sts_report_only: str = ""
    pairs: Mapping[Modes, str] = field(default_factory=dict)

    zone: Signing | None = Signing.NSEC
    """How contoso.test is signed; None: it does not exist."""
    mx: tuple[str, ...] = ("10 mx.contoso.test.",)
    hosts: tuple[Host, ...] = (Host(),)
    zones: Mapping[str, Signing] = field(default_factory=dict)
    records: tuple[str, ...] = ()
    """Further records, `owner type rdata`."""
    spoil: tuple[str, ...] = ()
    """`owner type [how]`: signatures that do not hold; how as in simnet.signing.Spoil, `broken` if not given."""
    faults: Mapping[str, Fault] = field(default_factory=dict)
    """Subtrees delegated, without DS, to a name server that misbehaves."""
    policy: Policy | None = None
    cached: str = ""
    """A policy file that the gateway fetched an hour ago, under the id 0."""

    connector: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the connector that differ from the default."""
    excepted: SmtpDaneMode | None = None
    """A timed exception for the recipient's domain is in force, with this SmtpDaneMode."""
    ruled: SmtpDaneMode | None = None
    """A transport rule for the recipient's domain asks for this SmtpDaneMode."""
    to: str = "contoso.test"
    """The recipient's domain."""
    require_tls: bool = False
    tls_required_no: bool = False
    resolver_trusted: bool = True
    chance: float = 0.0
    """What decides the order among MX hosts of equal preference: 0 keeps that of their names."""
    slow: bool = False
    """Waits for a time-out; run beside the others."""

    @property
    def expected(self) -> dict[Modes, str]:
        """The line of every pair of modes to be run."""
        lines = {
            (D.OPPORTUNISTIC, S.OPPORTUNISTIC): self.opportunistic or self.both,
            (D.MANDATORY, S.OPPORTUNISTIC): self.mandatory or self.both,
            (D.NONE, S.OPPORTUNISTIC): self.none,
            (D.REPORT_ONLY, S.OPPORTUNISTIC): self.report_only,
            (D.OPPORTUNISTIC, S.MANDATORY): self.sts_mandatory,
            (D.OPPORTUNISTIC, S.NONE): self.sts_none,
            (D.OPPORTUNISTIC, S.REPORT_ONLY): self.sts_report_only,
            **self.pairs,
        }
        return {modes: line for modes, line in lines.items() if line}

    @property
    def lines(self) -> dict[str, str]:
        """The same with the modes in words, as Lab.lines finds them."""
        return {named(modes): line for modes, line in self.expected.items()}

    def __str__(self) -> str:
        return self.name


def named(modes: Modes) -> str:
    return f"SmtpDaneMode {modes[0].value}, MtaStsMode {modes[1].value}"
