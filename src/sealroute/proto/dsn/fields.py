"""Header and status fields as they stand in a notification: one field, whatever a peer or sender put into its text.

Text from outside loses its control characters, so it cannot begin a field, part or line of its own; it is cut to a bounded
length and folded, so that no line exceeds the 998 octets of [RFC 5322 §2.1.1].
"""

from __future__ import annotations

import textwrap
from email.header import Header

MAX_VALUE_CHARACTERS = 2000
MAX_SUBJECT_CHARACTERS = 256
_FOLD_CHARACTERS = 200
"""At most 800 octets in UTF-8, with room for the field's name."""


def one_line(text: str, limit: int = MAX_VALUE_CHARACTERS) -> str:
    """The text without line breaks and other controls, cut where it is too long."""
    clean = text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def field(name: str, value: str, *, ascii_only: bool = False) -> bytes:
    """`Name: value` with its CRLF, folded; with `ascii_only` other characters become `?`."""
    text = one_line(value)
    lines = [text]
    if len(text) > _FOLD_CHARACTERS:
        lines = textwrap.wrap(text, _FOLD_CHARACTERS, break_on_hyphens=False) or [""]
    folded = "\r\n ".join(lines)
    if ascii_only and not folded.isascii():
        folded = folded.replace("…", "...")
    return f"{name}: {folded}\r\n".encode("ascii" if ascii_only else "utf-8", "replace")


def subject(text: str) -> bytes:
    """The Subject field, as encoded words where it is not ASCII [RFC 2047]."""
    clean = one_line(text, MAX_SUBJECT_CHARACTERS)
    charset = "us-ascii" if clean.isascii() else "utf-8"
    value = Header(clean, charset, header_name="Subject").encode(linesep="\r\n")
    return f"Subject: {value}\r\n".encode("ascii", "replace")


def typed_address(address: str, *, utf8: bool) -> str:
    """`rfc822; address`, or `utf-8; address` for an internationalized one, in ASCII where the part is ASCII [RFC 6533 §3]."""
    if address.isascii():
        return f"rfc822; {address}"
    return f"utf-8; {address if utf8 else unitext(address)}"


def unitext(address: str) -> str:
    """An internationalized address in ASCII: every other character as `\\x{HEX}` [RFC 6533 §3]."""
    return "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in address)


def original_recipient(orcpt: str, *, utf8: bool) -> str:
    """ORCPT as given, xtext decoded [RFC 3461 §6.3]: `type; address`."""
    kind, _, address = orcpt.partition(";")
    return f"{kind}; {address if utf8 else unitext(address)}"


def mta_name(host: str) -> str:
    """`dns; host`, an address in brackets [RFC 3464 §2.2.2]."""
    is_address = ":" in host or host.replace(".", "").isdigit()
    return f"dns; [{host}]" if is_address and not host.startswith("[") else f"dns; {host}"
