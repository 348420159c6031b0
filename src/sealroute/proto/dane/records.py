"""TLSA records: their presentation format, and which of them an SMTP client can use.

Unusable is not the same as malformed text: a record with an unknown usage or a digest of the wrong length is a record all the
same, and a zone that publishes nothing else still asks for TLS [RFC 7672 §2.2].  So `parse` refuses only what is no TLSA
record at all, and `why_unusable` says what is wrong with the rest.

Elsewhere: matching is in proto/dane/verify; the wire format is the resolver's.
Sources: [RFC 6698 §2], [RFC 7671 §4], [RFC 7672 §3.1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from OpenSSL import crypto

from sealroute.base import der
from sealroute.base.certs import Certificate
from sealroute.base.dnsdata import Tlsa
from sealroute.base.errors import InputError

MAX_DATA_BYTES = 65_535 - 3


class Usage(IntEnum):
    """Certificate usage, with its acronym [RFC 7218 §2.1]."""

    PKIX_TA = 0
    PKIX_EE = 1
    DANE_TA = 2
    DANE_EE = 3


class Selector(IntEnum):
    """Which octets are compared [RFC 7218 §2.2]."""

    CERT = 0
    SPKI = 1


class Matching(IntEnum):
    """How they are compared [RFC 7218 §2.3]."""

    FULL = 0
    SHA2_256 = 1
    SHA2_512 = 2


DIGEST_BYTES = {Matching.SHA2_256: 32, Matching.SHA2_512: 64}


def parse(text: str) -> Tlsa:
    """The record that presentation text is, e.g. `3 1 1 0B9F...`; raises InputError when it is none.

    tlsa = octet 1*WSP octet 1*WSP octet 1*WSP 1*hexpair    ; octet is 0-255 in decimal, hex may contain white space
    [RFC 6698 §2.2]
    """
    fields = text.split(maxsplit=3)
    if len(fields) < 4:
        raise InputError(
            f"{text[:80]!r} is not a TLSA record: write usage, selector, matching type and data, as in `3 1 1 0B9F…`"
        )
    numbers = []
    for name, field in zip(("usage", "selector", "matching type"), fields[:3], strict=True):
        if not (field.isascii() and field.isdigit() and len(field) <= 3 and int(field) <= 255):
            raise InputError(f"the TLSA {name} {field[:20]!r} is not a number from 0 to 255")
        numbers.append(int(field))
    digits = "".join(fields[3].split())
    if len(digits) > 2 * MAX_DATA_BYTES:
        raise InputError(f"the TLSA data has more than {MAX_DATA_BYTES} octets")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise InputError(f"the TLSA data {digits[:20]!r}… is not hexadecimal, two digits for each octet") from None
    return Tlsa(numbers[0], numbers[1], numbers[2], data)


def why_unusable(record: Tlsa) -> str:
    """Why an SMTP client passes the record over, in one clause; empty when it is usable [RFC 7672 §3.1]."""
    match record.usage:
        case Usage.PKIX_TA | Usage.PKIX_EE:
            return f"usage {record.usage} ({Usage(record.usage).name.replace('_', '-')}) is not used with SMTP"
        case Usage.DANE_TA | Usage.DANE_EE:
            pass
        case _:
            return f"usage {record.usage} is unknown"
    if record.selector not in (Selector.CERT, Selector.SPKI):
        return f"selector {record.selector} is unknown"
    match record.matching:
        case Matching.SHA2_256 | Matching.SHA2_512:
            expected = DIGEST_BYTES[Matching(record.matching)]
            if len(record.data) != expected:
                return f"the digest has {len(record.data)} octets instead of {expected}"
            return ""
        case Matching.FULL:
            return _why_not_full(record)
        case _:
            return f"matching type {record.matching} is unknown"


def _why_not_full(record: Tlsa) -> str:
    """A full certificate or key has to be one: octets that no server could ever present are no promise."""
    if record.selector == Selector.CERT:
        return "" if Certificate(record.data).openssl is not None else "the data is not a certificate"
    try:
        der.whole(record.data, der.SEQUENCE)
        crypto.load_publickey(crypto.FILETYPE_ASN1, record.data)
    except (der.DerError, crypto.Error):
        return "the data is not a public key (subjectPublicKeyInfo)"
    return ""


@dataclass(frozen=True, slots=True)
class Classified:
    """A TLSA record set, sorted by use."""

    usable: tuple[Tlsa, ...]
    """Empty: TLS is required, and DANE authenticates nothing [RFC 7672 §2.2]."""
    unusable: tuple[tuple[Tlsa, str], ...]
    """With the reason of each."""


def classify(records: Iterable[Tlsa]) -> Classified:
    """Which records of a set an SMTP client can use, in published order."""
    usable, unusable = [], []
    for record in records:
        if why := why_unusable(record):
            unusable.append((record, why))
        else:
            usable.append(record)
    return Classified(tuple(usable), tuple(unusable))


def outranked(record: Tlsa, usable: Sequence[Tlsa]) -> Tlsa | None:
    """The record that makes this one void by digest agility, or None [RFC 7671 §9].

    Among the usable records of equal usage and selector only those with the strongest digest count; matching type 0 is
    no digest and always counts.
    """
    if record.matching == Matching.FULL:
        return None
    for other in usable:
        if (other.usage, other.selector) == (record.usage, record.selector) and other.matching > record.matching:
            return other
    return None
