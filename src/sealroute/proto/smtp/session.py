"""Values that pass between the SMTP server engine and whoever drives it: policy and limits in, events out.

No behaviour here but `client_key`.  The engine (server.py) is told everything it must know about the world in
`SessionPolicy` and `ServerLimits`, and asks for what it cannot do itself with events; it never looks anything up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from sealroute.base.mail import Envelope, Origin


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Every count and size that a client controls within one session."""

    message_bytes: int = 36_700_160
    """Announced with SIZE [RFC 1870]."""
    recipients_per_message: int = 1000
    """Beyond: 452 4.5.3; never below 100 [RFC 5321 §4.5.3.1.8]."""
    messages_per_session: int = 10_000
    errors_per_session: int = 10
    """Counted anew after each accepted message, as are refused recipients and idle commands."""
    refused_recipients_per_session: int = 100
    """Counted apart from errors, so that a list with dead entries still gets through."""
    idle_commands: int = 100
    """What moves no mail between two accepted messages: NOOP, RSET, EHLO, VRFY, empty chunks, refused messages."""
    auth_attempts: int = 3
    command_line_bytes: int = 4096
    auth_line_bytes: int = 12_288
    """[RFC 4954 §4] asks for lines of this length in an AUTH exchange."""
    backlog_bytes: int = 1_048_576
    """Bytes received but not yet looked at while an outcome is outstanding."""
    output_bytes: int = 1_048_576
    """Replies that one portion of input may provoke."""


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What this client may do here, decided before the first byte."""

    hostname: str
    """Our own name, in the greeting and in EHLO's reply."""
    client_ip: str
    origin: Origin = Origin.RELAY
    may_relay: bool = False
    """The client's network may send without authentication."""
    offers_tls: bool = False
    offers_auth: bool = False
    """AUTH is offered, over TLS only."""
    organization: str = "default"
    """Owner of what is relayed by network; an authenticated user's own organisation replaces it."""
    postmaster: str = ""
    """The address that a bare `<postmaster>` stands for; empty: refused."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What is known about the session that a message came through."""

    client_ip: str
    origin: Origin
    organization: str
    helo: str = ""
    esmtp: bool = True
    tls_version: str = ""
    """Such as `TLSv1.3`; empty without TLS."""
    tls_cipher: str = ""
    user: str = ""


# ------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class StartTls:
    """The 220 is in the output: write it, start TLS, then call `tls_started`; on failure drop the connection."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Check the password, then call `auth_done`."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Store the message durably or refuse it, then call `message_done` with the reply."""

    envelope: Envelope
    content: bytes = field(repr=False)
    """Dot-unstuffed, CRLF line ends only, ends with CRLF unless empty."""
    facts: SessionFacts


@dataclass(frozen=True, slots=True)
class Close:
    """Write the output, then close the connection; the engine takes nothing more."""

    reason: str
    """For the log: `quit`, or what the client did wrong."""


Event = StartTls | Authenticate | MessageReceived | Close


# ----------------------------------------------------------------------------------------------------- outcomes of AUTH


@dataclass(frozen=True, slots=True)
class AuthAccepted:
    """The password is right."""

    user: str
    organization: str


@dataclass(frozen=True, slots=True)
class AuthRefused:
    """No such user or wrong password; which of the two is not said."""


@dataclass(frozen=True, slots=True)
class AuthThrottled:
    """Not checked: this client has failed too often of late."""

    wait_seconds: int


@dataclass(frozen=True, slots=True)
class AuthUnavailable:
    """Not checked: too busy, or the user store does not answer."""


AuthOutcome = AuthAccepted | AuthRefused | AuthThrottled | AuthUnavailable


def client_key(client_ip: str) -> str:
    """What one client is counted by, wherever clients are counted: its IPv4 address, or its IPv6 /64."""
    address = ip_address(client_ip)
    return client_ip if address.version == 4 else str(ip_network((address, 64), strict=False))
