"""The head of a message: the few facts that acceptance needs, and the fields it puts on top.

One search per fact over the head only; the body is never looked at.  Folded fields are unfolded, nothing else is parsed:
the message travels on as it came.  A head larger than MAX_HEAD_OCTETS is not read (`scan` returns None).

Sources: [RFC 5322 §2.2], [RFC 5321 §4.4] Received, [RFC 3848] and [RFC 6531 §4.3] `with`, [RFC 8689 §5] TLS-Required,
[RFC 2047] encoded words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header

from sealroute.base import times
from sealroute.proto.smtp.session import SessionFacts

MAX_HEAD_OCTETS = 262_144
MAX_SUBJECT_CHARACTERS = 256
MAX_MESSAGE_ID_CHARACTERS = 512
_MAX_RAW_SUBJECT_OCTETS = 4096

# field-name = 1*ftext ; %d33-57 / %d59-126.  Blanks before the colon are obsolete syntax that is still met.
_FIRST_FIELD = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")


@dataclass(frozen=True, slots=True)
class Head:
    """What the head says."""

    hops: int = 0
    """How many Received fields there are."""
    message_id: str = ""
    """The Message-ID, with its angle brackets; empty when there is none."""
    subject: str = ""
    """Decoded, printable, bounded."""
    tls_required_no: bool = False
    has_date: bool = False
    begins_with_field: bool = True
    """False when the first line is no header field: a blank line must then follow whatever is put on top."""


def scan(content: bytes) -> Head | None:
    """The facts of a message's head, or None when the head is too large to be read."""
    if content.startswith(b"\r\n"):
        return Head()
    end = content.find(b"\r\n\r\n", 0, MAX_HEAD_OCTETS)
    if end < 0 and len(content) > MAX_HEAD_OCTETS:
        return None
    head = b"\r\n" + (content[: end + 2] if end >= 0 else content)
    lower = head.lower()
    tls_required = _values(head, lower, b"tls-required")
    return Head(
        hops=lower.count(b"\r\nreceived:"),
        message_id=_message_id(_value(head, lower, b"message-id")),
        subject=_subject(_value(head, lower, b"subject")),
        # Given twice, it is not a clear wish; then it does not lower anything.
        tls_required_no=len(tls_required) == 1 and tls_required[0].strip().lower() == b"no",
        has_date=b"\r\ndate:" in lower,
        begins_with_field=not content or _FIRST_FIELD.match(content) is not None,
    )


def _value(head: bytes, lower: bytes, name: bytes, start: int = 0) -> bytes:
    """The unfolded value of the first field of that name; empty when there is none."""
    at = lower.find(b"\r\n" + name + b":", start)
    if at < 0:
        return b""
    begin = at + len(name) + 3
    end = head.find(b"\r\n", begin)
    while end >= 0 and head[end + 2 : end + 3] in (b" ", b"\t"):
        end = head.find(b"\r\n", end + 2)
    return head[begin : end if end >= 0 else len(head)].replace(b"\r\n", b"").strip()


def _values(head: bytes, lower: bytes, name: bytes) -> list[bytes]:
    """The values of the first two fields of that name; more than one is all that anybody asks."""
    first = lower.find(b"\r\n" + name + b":")
    if first < 0:
        return []
    second = lower.find(b"\r\n" + name + b":", first + 2)
    found = [_value(head, lower, name, first)]
    return found if second < 0 else [*found, _value(head, lower, name, second)]


def _message_id(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace")
    if len(text) <= MAX_MESSAGE_ID_CHARACTERS and text.isprintable() and " " not in text:
        return text
    return "".join(char for char in text[:MAX_MESSAGE_ID_CHARACTERS] if char.isprintable() and char != " ")


def _subject(raw: bytes) -> str:
    raw = raw[:_MAX_RAW_SUBJECT_OCTETS]
    text = raw.decode("utf-8", "replace")
    if b"=?" in raw:
        text = _encoded_words(text)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())[:MAX_SUBJECT_CHARACTERS]


def _encoded_words(text: str) -> str:
    try:
        parts = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(part if isinstance(part, str) else _charset(part, charset) for part, charset in parts)


def _charset(octets: bytes, charset: str | None) -> str:
    try:
        return octets.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return octets.decode("latin-1")


def transmission(facts: SessionFacts, smtputf8: bool) -> str:
    """The `with` word of a Received field [RFC 3848, RFC 6531 §4.3]."""
    if not facts.esmtp:
        return "SMTP"
    word = "UTF8SMTP" if smtputf8 else "ESMTP"
    return word + ("S" if facts.tls_version else "") + ("A" if facts.user else "")


def received(facts: SessionFacts, hostname: str, message_id: str, when: datetime, *, smtputf8: bool, only: str = "") -> bytes:
    """Our Received field, CRLF included.  `only` is the recipient when there is no other [RFC 5321 §4.4, §7.6]."""
    ip = f"IPv6:{facts.client_ip}" if ":" in facts.client_ip else facts.client_ip
    tls = f" ({facts.tls_version} {facts.tls_cipher})" if facts.tls_version else ""
    recipient = f"\r\n\tfor <{only}>" if only else ""
    return (
        f"Received: from {facts.helo} ([{ip}])\r\n\tby {hostname} with {transmission(facts, smtputf8)}{tls}\r\n"
        f"\tid {message_id}{recipient};\r\n\t{times.rfc5322(when)}\r\n"
    ).encode()
