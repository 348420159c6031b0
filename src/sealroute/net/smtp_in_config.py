"""What listeners and their sessions are told: where to listen, what clients may take, whom to ask; and what they count.

Values, and what they say of one client; smtp_in.py opens the listeners, smtp_session.py runs one connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from sealroute.base.mail import Envelope, Origin
from sealroute.base.status import Reply
from sealroute.proto.smtp.session import AuthOutcome, ServerLimits, SessionFacts, SessionPolicy

AcceptMessage = Callable[[Envelope, bytes, SessionFacts], Awaitable[Reply]]
"""services/accept."""
CheckPassword = Callable[[str, str, str], Awaitable[AuthOutcome]]
"""(user, password, client IP): services/authenticate."""


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """One address to listen on."""

    address: str
    """`""` and `::` mean all addresses, IPv4 and IPv6."""
    port: int
    """0: any free one; `SmtpIn.listen` tells which."""
    kind: Origin = Origin.RELAY
    """RELAY: clients in `networks` may send.  SUBMISSION: authenticated users may, over TLS."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    tls_context: Any = None
    """From net/tls; None: no STARTTLS, hence no AUTH."""
    implicit_tls: bool = False
    organization: str = "default"


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """What clients may take of us, beyond what one session's engine bounds."""

    connections: int = 1000
    connections_per_client: int = 50
    command_seconds: float = 300.0
    data_seconds: float = 180.0
    session_seconds: float = 3600.0
    handshake_seconds: float = 30.0
    content_budget_bytes: int = 268_435_456


@dataclass(frozen=True, slots=True)
class ReceiveConfig:
    """What all listeners share."""

    hostname: str
    postmaster: str = ""
    limits: ReceiveLimits = field(default_factory=ReceiveLimits)
    session_limits: ServerLimits = field(default_factory=ServerLimits)


@dataclass(slots=True)
class ReceiveCounters:
    """Counts for metrics; only smtp_in writes them."""

    connections: int = 0
    connections_open: int = 0
    connections_refused: int = 0
    messages_accepted: int = 0
    messages_refused: int = 0
    handshakes: int = 0
    handshakes_failed: int = 0
    logins: int = 0
    logins_failed: int = 0
    held_bytes: int = 0
    """Content received and not yet stored."""


def session_policy(config: ReceiveConfig, listener: ListenerConfig, client_ip: str, *, checks_passwords: bool) -> SessionPolicy:
    """What one client's session offers and allows."""
    tls = listener.tls_context is not None
    submission = listener.kind is Origin.SUBMISSION
    address = ip_address(client_ip)
    return SessionPolicy(
        hostname=config.hostname,
        client_ip=client_ip,
        origin=listener.kind,
        may_relay=not submission and any(address in network for network in listener.networks),
        offers_tls=tls,
        offers_auth=tls and submission and checks_passwords,
        organization=listener.organization,
        postmaster=config.postmaster,
    )


def plain_ip(text: str) -> str:
    """An address as clients are known by: without zone, IPv4 not wrapped in IPv6."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
