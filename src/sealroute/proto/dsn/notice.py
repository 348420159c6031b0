"""A delivery status notification as a message: multipart/report with a human part, a machine part and the original.

Structure [RFC 6522], machine part [RFC 3464], internationalized forms [RFC 6533].  Lines are written by hand, not through a
mail library, because the returned original must stay byte for byte what was received.

Elsewhere: fields and their bounds (fields.py), the human wording (human.py), who gets which notice (services/bounce),
reading notifications (parse.py).
"""

from __future__ import annotations

from binascii import b2a_qp
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sealroute.base.status import Enhanced
from sealroute.base.times import rfc5322
from sealroute.proto.dsn.fields import field, mta_name, original_recipient, subject, typed_address

MAX_RETURNED_BYTES = 1024 * 1024
"""Larger originals are returned as headers only; an NDR must stay deliverable."""
MAX_RETURNED_HEADER_BYTES = 128 * 1024
MAX_MESSAGE_ID_CHARACTERS = 250
MAX_LINE_OCTETS = 998


class Action(Enum):
    """The Action field [RFC 3464 §2.3.3]."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    """Handed to a server that does not speak DSN: no further success notice will come."""


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """The per-recipient fields [RFC 3464 §2.3]."""

    address: str
    action: Action
    status: Enhanced
    diagnostic: str = ""
    """`550 5.1.1 ...`: what the remote server said, or what we say in its place when it did not come to that."""
    remote_mta: str = ""
    orcpt: str | None = None
    """`type;address`, as the sender gave it."""
    last_attempt_at: datetime | None = None
    will_retry_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Everything a notification says."""

    reporting_mta: str
    from_address: str
    to_address: str
    subject: str
    message_id: str
    """Of the notification itself, without angle brackets."""
    boundary: str
    """Must not occur in the original."""
    at: datetime
    arrived_at: datetime
    human: str
    recipients: tuple[RecipientStatus, ...]
    original: bytes
    return_full: bool = False
    envid: str | None = None
    internationalized: bool = False
    """An address or the original's header is not ASCII: the forms of [RFC 6533] are needed."""
    original_message_id: str = ""


def build(notice: Notice) -> bytes:
    """The notification as it travels after DATA, CRLF line ends."""
    utf8 = notice.internationalized
    part = f"--{notice.boundary}\r\n".encode()
    returned, returned_type = _returned(notice)
    returned_8bit = not returned.isascii()
    status = _status(notice, utf8)
    status_type = b"message/global-delivery-status" if utf8 else b"message/delivery-status"
    encoding = b"7bit" if returned.isascii() and status.isascii() else b"8bit"
    return b"".join(
        (
            _headers(notice),
            b"Content-Transfer-Encoding: ", encoding, b"\r\n\r\n",
            b"This is a report about your message, for people and for mail programs.\r\n\r\n",
            part,
            _human(notice.human),
            b"\r\n",
            part,
            b"Content-Type: ", status_type, b"\r\n",
            b"Content-Transfer-Encoding: 8bit\r\n" if not status.isascii() else b"",
            b"\r\n",
            status,
            b"\r\n",
            part,
            b"Content-Type: ", returned_type.encode(), b"\r\n",
            b"Content-Transfer-Encoding: ", b"8bit" if returned_8bit else b"7bit", b"\r\n\r\n",
            returned,
            b"\r\n",
            f"--{notice.boundary}--\r\n".encode(),
        )
    )  # fmt: skip


def _headers(notice: Notice) -> bytes:
    fields = [
        field("From", f"Mail delivery <{notice.from_address}>"),
        field("To", f"<{notice.to_address}>"),
        subject(notice.subject),
        field("Date", rfc5322(notice.at)),
        field("Message-ID", f"<{notice.message_id}>"),
        # Keeps vacation responders and list servers from answering a robot [RFC 3834 §5].
        field("Auto-Submitted", "auto-replied"),
        field("MIME-Version", "1.0"),
    ]
    original = notice.original_message_id
    if original.isascii() and original.isprintable() and 0 < len(original) <= MAX_MESSAGE_ID_CHARACTERS:
        fields += [field("In-Reply-To", original), field("References", original)]
    kind = f'multipart/report; report-type=delivery-status; boundary="{notice.boundary}"'
    return b"".join(fields) + f"Content-Type: {kind}\r\n".encode()


def _human(text: str) -> bytes:
    """The part for people; quoted-printable where it is not plain, so that it never asks anything of the next server."""
    octets = text.encode("utf-8", "replace").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if not octets.isascii() or any(len(line) > MAX_LINE_OCTETS for line in octets.split(b"\r\n")):
        octets = b2a_qp(octets, istext=True)
        encoding = b"quoted-printable"
    else:
        encoding = b"7bit"
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + octets


def _status(notice: Notice, utf8: bool) -> bytes:
    """The per-message group, then one group for each recipient, a blank line between them [RFC 3464 §2.1]."""
    plain = not utf8
    fields = [
        field("Reporting-MTA", mta_name(notice.reporting_mta), ascii_only=plain),
        field("Arrival-Date", rfc5322(notice.arrived_at)),
    ]
    if notice.envid is not None:
        fields.insert(0, field("Original-Envelope-Id", notice.envid, ascii_only=plain))
    return b"\r\n".join([b"".join(fields), *(_recipient(item, utf8) for item in notice.recipients)])


def _recipient(item: RecipientStatus, utf8: bool) -> bytes:
    values = (
        ("Original-Recipient", "" if item.orcpt is None else original_recipient(item.orcpt, utf8=utf8)),
        ("Final-Recipient", typed_address(item.address, utf8=utf8)),
        ("Action", item.action.value),
        ("Status", str(item.status)),
        ("Remote-MTA", mta_name(item.remote_mta) if item.remote_mta else ""),
        ("Diagnostic-Code", f"smtp; {item.diagnostic}" if item.diagnostic else ""),
        ("Last-Attempt-Date", rfc5322(item.last_attempt_at) if item.last_attempt_at is not None else ""),
        ("Will-Retry-Until", rfc5322(item.will_retry_until) if item.will_retry_until is not None else ""),
    )
    return b"".join(field(name, value, ascii_only=not utf8) for name, value in values if value)


def _returned(notice: Notice) -> tuple[bytes, str]:
    """The original, or its header only, and the media type of the part."""
    content = notice.original
    utf8 = notice.internationalized
    if notice.return_full and len(content) <= MAX_RETURNED_BYTES:
        return content, "message/global" if utf8 else "message/rfc822"
    head = header_of(content)
    if len(head) > MAX_RETURNED_HEADER_BYTES:
        head = head[: head.rfind(b"\r\n", 0, MAX_RETURNED_HEADER_BYTES) + 2]
    return head, "message/global-headers" if utf8 else "text/rfc822-headers"


def header_of(content: bytes) -> bytes:
    """The header of a message, without the blank line after it."""
    if content.startswith(b"\r\n"):
        return b""
    end = content.find(b"\r\n\r\n")
    return content[: end + 2] if end >= 0 else content


def boundary_for(original: bytes, seed: str) -> str:
    """A boundary made from a seed that does not occur in the original."""
    boundary, turn = f"=_{seed}", 0
    while boundary.encode() in original:
        turn += 1
        boundary = f"=_{seed}.{turn}"
    return boundary
