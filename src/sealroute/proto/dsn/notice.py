"""A delivery status notification as a message: multipart/report with a human part, a machine part and the original.

Structure [RFC 6522], machine part [RFC 3464], internationalized forms [RFC 6533].  Lines are written by hand, not through a
mail library, because the returned original must stay byte for byte what was received.

Elsewhere: the human wording (human.py), who gets which notice (services/bounce), reading notifications (parse.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from enum import Enum

from sealroute.base.status import Enhanced
from sealroute.base.times import rfc5322

MAX_RETURNED_BYTES = 1024 * 1024
"""Larger originals are returned as headers only; an NDR must stay deliverable."""


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
    """What the remote server said, `250 ...` or `550 ...`; empty when we decided ourselves."""
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
    smtputf8: bool = False
    original_message_id: str = ""


def build(notice: Notice) -> bytes:
    """The notification as it travels after DATA, CRLF line ends."""
    part = f"--{notice.boundary}\r\n".encode()
    returned, returned_type = _returned(notice)
    returned_8bit = not returned.isascii()
    status_type = "message/global-delivery-status" if notice.smtputf8 else "message/delivery-status"
    encoding = "8bit" if returned_8bit or not notice.human.isascii() or notice.smtputf8 else "7bit"
    human = notice.human.replace("\r\n", "\n").replace("\n", "\r\n")
    return b"".join(
        (
            _headers(notice, encoding),
            b"This is a report about your message, for people and for mail programs.\r\n\r\n",
            part,
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: ",
            b"7bit" if human.isascii() else b"8bit",
            b"\r\n\r\n",
            human.encode(),
            b"\r\n",
            part,
            f"Content-Type: {status_type}\r\n\r\n".encode(),
            _status(notice),
            b"\r\n",
            part,
            f"Content-Type: {returned_type}\r\nContent-Transfer-Encoding: ".encode(),
            b"8bit" if returned_8bit else b"7bit",
            b"\r\n\r\n",
            returned,
            b"\r\n" if returned.endswith(b"\r\n") else b"\r\n\r\n",
            f"--{notice.boundary}--\r\n".encode(),
        )
    )


def _headers(notice: Notice, encoding: str) -> bytes:
    subject = notice.subject if notice.subject.isascii() else Header(notice.subject, "utf-8").encode(linesep="\r\n")
    lines = [
        f"From: Mail delivery <{notice.from_address}>",
        f"To: <{notice.to_address}>",
        f"Subject: {subject}",
        f"Date: {rfc5322(notice.at)}",
        f"Message-ID: <{notice.message_id}>",
        # Keeps vacation responders and list servers from answering a robot [RFC 3834 §5].
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{notice.boundary}"',
        f"Content-Transfer-Encoding: {encoding}",
    ]
    if notice.original_message_id:
        lines += [f"In-Reply-To: {notice.original_message_id}", f"References: {notice.original_message_id}"]
    return "\r\n".join(_one_line(line) if not line.startswith("Subject:") else line for line in lines).encode() + b"\r\n\r\n"


def _status(notice: Notice) -> bytes:
    fields = [f"Reporting-MTA: dns; {notice.reporting_mta}"]
    if notice.envid is not None:
        fields.insert(0, f"Original-Envelope-Id: {notice.envid}")
    fields.append(f"Arrival-Date: {rfc5322(notice.arrived_at)}")
    groups = [fields] + [_recipient(item, notice.smtputf8) for item in notice.recipients]
    return b"\r\n".join("".join(f"{_one_line(line)}\r\n" for line in group).encode() for group in groups)


def _recipient(item: RecipientStatus, smtputf8: bool) -> list[str]:
    kind = "rfc822" if item.address.isascii() or not smtputf8 else "utf-8"
    fields = []
    if item.orcpt is not None:
        kind_given, _, address = item.orcpt.partition(";")
        fields.append(f"Original-Recipient: {kind_given}; {address}")
    fields += [
        f"Final-Recipient: {kind}; {item.address}",
        f"Action: {item.action.value}",
        f"Status: {item.status}",
    ]
    if item.remote_mta:
        fields.append(f"Remote-MTA: dns; {item.remote_mta}")
    if item.diagnostic:
        fields.append(f"Diagnostic-Code: smtp; {item.diagnostic}")
    if item.last_attempt_at is not None:
        fields.append(f"Last-Attempt-Date: {rfc5322(item.last_attempt_at)}")
    if item.will_retry_until is not None:
        fields.append(f"Will-Retry-Until: {rfc5322(item.will_retry_until)}")
    return fields


def _one_line(text: str) -> str:
    """A header field that a peer's text cannot break out of."""
    return " ".join(text.replace("\r", " ").replace("\n", " ").split(" "))


def _returned(notice: Notice) -> tuple[bytes, str]:
    """The original, or its headers only, and the media type of the part."""
    content = notice.original
    if notice.return_full and len(content) <= MAX_RETURNED_BYTES:
        return content, "message/global" if notice.smtputf8 else "message/rfc822"
    end = content.find(b"\r\n\r\n")
    head = content[: end + 2] if end >= 0 else content
    return head[:MAX_RETURNED_BYTES], "message/global-headers" if notice.smtputf8 else "text/rfc822-headers"


def boundary_for(original: bytes, seed: str) -> str:
    """A boundary made from a seed that does not occur in the original."""
    boundary, turn = f"=_{seed}", 0
    while boundary.encode() in original:
        turn += 1
        boundary = f"=_{seed}.{turn}"
    return boundary
