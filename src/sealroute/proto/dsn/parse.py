"""Reading a delivery status notification [RFC 3464, RFC 6522, RFC 6533].

Tolerances, each seen in the field: folded fields; `rfc822;` without the space after it; a missing per-message group; extra
fields; unknown actions (kept as text).  Not tolerated: a message that is no multipart/report of delivery-status.
"""

from __future__ import annotations

from binascii import a2b_base64, a2b_qp
from dataclasses import dataclass
from email import policy as email_policy
from email.message import EmailMessage, Message
from email.parser import BytesParser

MAX_BYTES = 64 * 1024 * 1024
MAX_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class Parsed:
    """A notification as read."""

    per_message: dict[str, str]
    """Field names lower case."""
    recipients: tuple[dict[str, str], ...]
    human: str
    returned: str
    """`full`, `headers` or `none`."""


@dataclass(frozen=True, slots=True)
class NotADsn:
    """The bytes are no delivery status notification; says why."""

    reason: str


def parse(content: bytes) -> Parsed | NotADsn:
    """The notification that these bytes are, or why they are none; never raises."""
    if len(content) > MAX_BYTES:
        return NotADsn(f"{len(content)} octets are more than {MAX_BYTES}")
    try:
        message = BytesParser(policy=email_policy.default).parsebytes(content)
        return _read(message)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # The standard library's parser lets these out for hostile headers.
        return NotADsn(f"the message cannot be parsed: {error}")


def _read(message: Message) -> Parsed | NotADsn:
    if message.get_content_type() != "multipart/report":
        return NotADsn(f"the media type is {message.get_content_type()}, not multipart/report")
    kind = str(message.get_param("report-type") or "").lower()
    if kind != "delivery-status":
        return NotADsn(f"report-type is {kind or 'missing'}, not delivery-status")
    parts = _messages(message)
    if len(parts) < 2:
        return NotADsn("the report has fewer than two parts")
    human, status, returned = "", None, "none"
    for part in parts:
        match part.get_content_type():
            case "message/delivery-status" | "message/global-delivery-status" if status is None:
                status = part
            case "message/rfc822" | "message/global":
                returned = "full"
            case "text/rfc822-headers" | "message/global-headers":
                returned = "headers"
            case "text/plain" if not human and isinstance(part, EmailMessage):
                human = str(part.get_content())
    if status is None:
        return NotADsn("there is no message/delivery-status part")
    groups = _groups(status)
    if not groups:
        return NotADsn("the delivery-status part is empty")
    per_message = {} if "final-recipient" in groups[0] else groups.pop(0)
    return Parsed(per_message, tuple(group for group in groups if "final-recipient" in group), human, returned)


def _groups(part: Message) -> list[dict[str, str]]:
    """The field groups of the status part, blank lines between them.

    The standard library reads each group as a message of headers; of message/global-delivery-status it takes the first group
    for a header and the rest, or the whole where it is encoded, for a body.
    """
    groups: list[dict[str, str]] = []
    for item in _messages(part)[:MAX_GROUPS]:
        own = _fields([(name, str(value)) for name, value in item.items()])
        groups += [own] if own else []
        groups += _blocks(_body(part, item))
    return groups[:MAX_GROUPS]


def _messages(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [item for item in payload if isinstance(item, Message)] if isinstance(payload, list) else []


def _body(part: Message, item: Message) -> str:
    """What stands below the first group, or the whole where the part is base64 or quoted-printable [RFC 6533 §4]."""
    raw = item.get_payload(decode=True)
    octets = raw if isinstance(raw, bytes) else b""
    match str(part.get("content-transfer-encoding", "")).strip().lower():
        case "base64":
            octets = a2b_base64(octets)
        case "quoted-printable":
            octets = a2b_qp(octets)
    return octets.decode("utf-8", "replace")


def _blocks(text: str) -> list[dict[str, str]]:
    blocks = text.replace("\r\n", "\n").split("\n\n")
    return [_fields(_unfold(block)) for block in blocks[:MAX_GROUPS] if block.strip()]


def _unfold(block: str) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    for line in block.split("\n"):
        if line[:1] in (" ", "\t") and fields:
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip()}")
        elif ":" in line:
            name, _, value = line.partition(":")
            fields.append((name, value))
    return fields


def _fields(items: list[tuple[str, str]]) -> dict[str, str]:
    """The first of each field, names lower case, values in one line."""
    result: dict[str, str] = {}
    for name, value in items:
        result.setdefault(name.strip().lower(), " ".join(value.split()))
    return result


def typed(value: str) -> tuple[str, str]:
    """(type, value) of a `type; value` field such as Final-Recipient; the type is empty when there is none."""
    kind, semicolon, rest = value.partition(";")
    return (kind.strip().lower(), rest.strip()) if semicolon else ("", value.strip())
