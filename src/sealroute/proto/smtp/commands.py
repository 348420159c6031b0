"""MAIL and RCPT as values: the path and parameters of one command, or the reply that refuses it.

Pure and without state: whether the command is in order, and whether this client may send at all, is server.py's.
Every parameter that EHLO announces is read here and nowhere else; all others get 555 [RFC 5321 §4.1.1.11].

Sources: [RFC 1870] SIZE, [RFC 6152] BODY, [RFC 6531] SMTPUTF8, [RFC 3461] DSN, [RFC 8689] REQUIRETLS, [RFC 4954 §5] AUTH.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sealroute.base.errors import InputError
from sealroute.base.mail import BodyType, Notify, Recipient, Ret
from sealroute.base.status import Enhanced, Reply
from sealroute.proto.smtp import grammar

T = TypeVar("T")

MAX_ENVID_CHARACTERS = 100
MAX_ORCPT_CHARACTERS = 500
"""Limits of [RFC 3461 §4.4] and [RFC 3461 §4.2], before xtext is decoded."""

_ATOM = re.compile(r"[A-Za-z0-9\-]{1,64}")
_NOTIFY = {"SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}
_BODY = {"7BIT": BodyType.SEVEN_BIT, "8BITMIME": BodyType.EIGHT_BIT}


@dataclass(frozen=True, slots=True)
class Mail:
    """An accepted MAIL command."""

    sender: str
    """Empty for the null reverse-path."""
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Offered:
    """What this session's EHLO announced, as far as parameters depend on it."""

    message_bytes: int
    tls: bool = False
    auth: bool = False
    postmaster: str = ""


def refusal(code: int, enhanced: str, text: str) -> Reply:
    """A reply written down in code; `enhanced` must be well-formed."""
    return Reply(code, (text,), Enhanced.parse(enhanced))


def parse_mail(arguments: str, offered: Offered) -> Mail | Reply:
    """MAIL's arguments (what follows the verb), or the reply that refuses them."""
    start = _after(arguments, "FROM:")
    if start is None:
        return refusal(501, "5.5.4", "Write it as MAIL FROM:<address>")
    try:
        path, end = grammar.parse_path(arguments, start)
    except InputError as error:
        return refusal(501, "5.1.7", f"Bad sender address: {error}")
    if path.local and not path.domain:
        return refusal(501, "5.1.7", "Bad sender address: the address has no domain")
    if path.domain:
        try:
            grammar.destination(path.domain)
        except InputError as error:
            return refusal(553, "5.1.7", f"Bad sender domain: {error}")
    rest = arguments[end:]
    mail = _mail_parameters(path.address, rest, offered) if rest else Mail(path.address)
    if isinstance(mail, Mail) and not mail.smtputf8 and not arguments.isascii():
        return refusal(553, "5.6.7", "Non-ASCII characters need the SMTPUTF8 parameter")
    return mail


def _mail_parameters(sender: str, text: str, offered: Offered) -> Mail | Reply:
    if text[0] != " ":
        return refusal(501, "5.5.4", "A blank must separate the address from its parameters")
    try:
        given = grammar.parse_parameters(text)
        size = _size(given.pop("SIZE")) if "SIZE" in given else 0
        body = _choice("BODY", _BODY, given.pop("BODY")) if "BODY" in given else BodyType.SEVEN_BIT
        smtputf8 = _flag("SMTPUTF8", given)
        ret = _choice("RET", Ret.__members__, given.pop("RET")) if "RET" in given else None
        envid = _envid(given.pop("ENVID")) if "ENVID" in given else None
        require_tls = _flag("REQUIRETLS", given)
        if offered.auth and "AUTH" in given:
            # Who submitted it first is not ours to vouch for; the value is checked for form and dropped, as if `<>`.
            grammar.decode_xtext(given.pop("AUTH") or "")
    except InputError as error:
        return refusal(501, "5.5.4", f"Bad parameter: {error}")
    if given:
        return _unknown(given)
    if require_tls and not offered.tls:
        return refusal(530, "5.7.10", "REQUIRETLS can be asked for over TLS only")
    if size > offered.message_bytes:
        return refusal(552, "5.3.4", f"Message of {size} octets exceeds the limit of {offered.message_bytes}")
    return Mail(sender, body, smtputf8, ret, envid, require_tls)


def parse_rcpt(arguments: str, offered: Offered, smtputf8: bool) -> Recipient | Reply:
    """RCPT's arguments, or the reply that refuses them; `smtputf8` is what the transaction's MAIL said."""
    if not smtputf8 and not arguments.isascii():
        return refusal(553, "5.6.7", "Non-ASCII characters need the SMTPUTF8 parameter of MAIL")
    start = _after(arguments, "TO:")
    if start is None:
        return refusal(501, "5.5.4", "Write it as RCPT TO:<address>")
    try:
        path, end = grammar.parse_path(arguments, start)
    except InputError as error:
        return refusal(501, "5.1.3", f"Bad recipient address: {error}")
    address = path.address
    if not address:
        return refusal(501, "5.1.3", "Bad recipient address: it is empty")
    if not path.domain:
        if not offered.postmaster:
            return refusal(550, "5.1.1", "No mailbox here; write <postmaster@domain>")
        address = offered.postmaster
    else:
        try:
            grammar.destination(path.domain)
        except InputError as error:
            return refusal(553, "5.1.2", f"Bad recipient domain: {error}")
    rest = arguments[end:]
    return _rcpt_parameters(address, rest) if rest else Recipient(address)


def _rcpt_parameters(address: str, text: str) -> Recipient | Reply:
    if text[0] != " ":
        return refusal(501, "5.5.4", "A blank must separate the address from its parameters")
    try:
        given = grammar.parse_parameters(text)
        notify = _notify(given.pop("NOTIFY")) if "NOTIFY" in given else None
        orcpt = _orcpt(given.pop("ORCPT")) if "ORCPT" in given else None
    except InputError as error:
        return refusal(501, "5.5.4", f"Bad parameter: {error}")
    return _unknown(given) if given else Recipient(address, notify, orcpt)


def _after(arguments: str, keyword: str) -> int | None:
    """Where the path begins, or None when the keyword is not there; blanks after the colon are let through."""
    start = len(keyword)
    if arguments[:start].upper() != keyword:
        return None
    while arguments.startswith(" ", start):
        start += 1
    return start


def _unknown(given: dict[str, str | None]) -> Reply:
    return refusal(555, "5.5.4", f"Parameter not recognized: {next(iter(given))[:64]}")


def _flag(keyword: str, given: dict[str, str | None]) -> bool:
    if keyword not in given:
        return False
    if given.pop(keyword) is not None:
        raise InputError(f"{keyword} takes no value")
    return True


def _choice(keyword: str, values: Mapping[str, T], value: str | None) -> T:
    found = values.get((value or "").upper())
    if found is None:
        raise InputError(f"{keyword} must be one of {', '.join(values)}")
    return found


def _size(value: str | None) -> int:
    # size-value = 1*20DIGIT
    if value is None or not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise InputError("SIZE must be a number of at most 20 digits")
    return int(value)


def _envid(value: str | None) -> str:
    if value is None or len(value) > MAX_ENVID_CHARACTERS:
        raise InputError(f"ENVID must have 1 to {MAX_ENVID_CHARACTERS} characters")
    envid = grammar.decode_xtext(value)
    if not envid.isascii():
        raise InputError("ENVID must be US-ASCII")
    return envid


def _notify(value: str | None) -> Notify:
    # notify-esmtp-value = "NEVER" / 1#notify-list-element
    words = (value or "").upper().split(",")
    if words == ["NEVER"]:
        return Notify.NEVER
    result = Notify(0)
    for word in words:
        if word not in _NOTIFY:
            raise InputError("NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY")
        result |= _NOTIFY[word]
    return result


def _orcpt(value: str | None) -> str:
    # original-recipient-address = addr-type ";" xtext      ; RFC 6533 adds the type utf-8 and UTF-8 itself
    kind, separator, address = (value or "").partition(";")
    if not separator or not address or _ATOM.fullmatch(kind) is None or len(value or "") > MAX_ORCPT_CHARACTERS:
        raise InputError(f"ORCPT must be type;address of at most {MAX_ORCPT_CHARACTERS} characters")
    return f"{kind};{grammar.decode_xtext(address)}"
