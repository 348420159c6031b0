"""A message and its envelope, as every floor speaks of them.

The message bytes are what travels after DATA, dot-unstuffed, with CRLF line ends, our trace header already on top.
DSN parameters keep the sender's spelling (xtext decoded) [RFC 3461 §4].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, Flag, auto


class BodyType(Enum):
    """What MAIL's BODY parameter said [RFC 6152]; 7BIT when it was not given."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Notify(Flag):
    """RCPT's NOTIFY parameter [RFC 3461 §4.1]."""

    NEVER = auto()
    SUCCESS = auto()
    FAILURE = auto()
    DELAY = auto()


DEFAULT_NOTIFY = Notify.FAILURE | Notify.DELAY
"""What applies when the sender gave no NOTIFY."""


class Ret(Enum):
    """MAIL's RET parameter: how much of the message an NDR returns [RFC 3461 §4.3]."""

    FULL = "FULL"
    HDRS = "HDRS"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT: the address as given, its DSN wishes."""

    address: str
    notify: Notify | None = None
    """None when the sender did not say; DEFAULT_NOTIFY then applies, and nothing is passed on."""
    orcpt: str | None = None
    """`type;address`, xtext decoded."""

    @property
    def effective_notify(self) -> Notify:
        return DEFAULT_NOTIFY if self.notify is None else self.notify


@dataclass(frozen=True, slots=True)
class Envelope:
    """MAIL and its RCPTs.  The sender `""` is the null reverse-path of notifications."""

    sender: str
    recipients: tuple[Recipient, ...]
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    require_tls: bool = False
    """MAIL asked REQUIRETLS [RFC 8689 §2]."""


class Origin(Enum):
    """How a message came to us."""

    RELAY = "relay"
    SUBMISSION = "submission"
    NOTIFICATION = "notification"
    """We made it: an NDR, delay or success notice, or a report."""


@dataclass(frozen=True, slots=True)
class Message:
    """One accepted message.  `id` is a UUID in text, ordered by time; it is the message's trace id."""

    id: str
    organization: str
    envelope: Envelope
    content: bytes = field(repr=False)
    received_at: datetime
    origin: Origin = Origin.RELAY
    client_ip: str = ""
    client_name: str = ""
    """What the client called itself in EHLO."""
    user: str = ""
    """Who was authenticated; empty for relay by network."""
    header_message_id: str = ""
    subject: str = ""
    tls_required_no: bool = False
    """The header said `TLS-Required: No` [RFC 8689 §5]."""
    crlf_only: bool = field(default=False, compare=False)
    """The content was looked through: no CR or LF stands alone.  False: not known, as of all that comes from the store."""

    @property
    def size_bytes(self) -> int:
        return len(self.content)
