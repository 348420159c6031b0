"""What services need from outside: time, DNS, MTA-STS policies, mail servers.  net/ implements it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sealroute.base.dnsdata import Answer, Mx, Tlsa
from sealroute.base.dnssec import SignedAnswer
from sealroute.base.mail import BodyType, Recipient, Ret
from sealroute.base.status import Reply
from sealroute.policy.attempt import RecipientFate
from sealroute.policy.evidence import FetchFailure
from sealroute.policy.reasons import Finding
from sealroute.policy.requirement import HandshakeFacts


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
