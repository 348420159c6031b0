"""The `_smtp._tls` TXT record: where a domain wants its TLS reports [RFC 8460 §3].

`parse_txt` judges the whole record set.  Rules that hold: it never raises; reasons and the number of addresses are bounded;
whatever is not OK means "send no report".  The URIs are given as published, percent-encoding kept; undoing it is up to
whoever sends to them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class RptStatus(Enum):
    """What a TXT record set says about TLS reports."""

    OK = "ok"
    """Exactly one valid record with at least one address we can report to."""
    NONE = "none"
    """No record that begins with `v=TLSRPTv1`: the domain wants no reports."""
    INVALID = "invalid"
    """Several such records, one that breaks the grammar, or no usable address: no reports [RFC 8460 §3]."""


@dataclass(frozen=True, slots=True)
class RptTxt:
    """A judged TXT record set."""

    status: RptStatus
    rua: tuple[str, ...] = ()
    """`mailto:` and `https:` URIs in the order published, each once."""
    reason: str | None = None


# tlsrpt-record    = tlsrpt-version 1*(field-delim tlsrpt-field) [field-delim]
# tlsrpt-field     = tlsrpt-rua / tlsrpt-extension        ; tlsrpt-rua is required
# field-delim      = *WSP ";" *WSP
# tlsrpt-version   = %s"v=TLSRPTv1"
# tlsrpt-rua       = %s"rua=" tlsrpt-uri *(*WSP "," *WSP tlsrpt-uri)
# tlsrpt-uri       = URI                                  ; [RFC 3986]; "," "!" ";" must be percent-encoded in it
# tlsrpt-extension = tlsrpt-ext-name "=" tlsrpt-ext-value
# tlsrpt-ext-name  = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
# tlsrpt-ext-value = 1*(%x21-3A / %x3C / %x3E-7E)         ; no "=", ";", SP, CTLs
_BEGINS = re.compile(r"v=TLSRPTv1[ \t]*;")
_NEARLY = re.compile(r"v=TLSRPTv1(?![A-Za-z0-9_.\-])")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,31}")
_VALUE = re.compile(r"[\x21-\x3a\x3c\x3e-\x7e]+")
# The characters of [RFC 3986 §2] without "," ";" and "!", which delimit; "%" only before two hexadecimal digits.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@$&'()*+=]|%[0-9A-Fa-f]{2})+")
# addr-spec of [RFC 6068 §2], possibly with header fields after "?", which a report does not use; we need one address.
_MAILTO = re.compile(r"mailto:[^@?#/\[\]]+@(?:[A-Za-z0-9_.\-]|%[0-9A-Fa-f]{2})+(?:\?[^#]*)?", re.IGNORECASE)
_HTTPS = re.compile(r"https://(?:[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][^#]*)?", re.IGNORECASE)
MAX_ADDRESSES = 16
"""More addresses than this are ignored: a domain may not make us send without end."""


def parse_txt(records: Sequence[str]) -> RptTxt:
    """Judge all TXT records found at `_smtp._tls.<domain>`, the strings of each already joined."""
    ours = [record for record in records if _BEGINS.match(record)]
    if len(ours) > 1:
        return _invalid(f"{len(ours)} records begin with v=TLSRPTv1; there must be exactly one, so no reports are sent")
    if ours:
        return _parse_record(ours[0])
    nearly = next((record for record in records if _NEARLY.match(record)), None)
    if nearly is None:
        return RptTxt(RptStatus.NONE)
    if nearly == "v=TLSRPTv1":
        return _invalid("the record has no rua field")
    return _invalid(f"v=TLSRPTv1 must be followed by a semicolon, not by {_shown(nearly[10:])}")


def _parse_record(record: str) -> RptTxt:
    fields = _fields(record)
    uris: list[str] = []
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            return _invalid(f"{_shown(field)} is not a field; fields are written name=value")
        if name == "rua":
            # Unlike MTA-STS, the grammar lets rua occur several times and says nothing of the first alone: all count.
            published = [uri.strip(" \t") for uri in value.split(",")]
            malformed = next((uri for uri in published if not _URI.fullmatch(uri)), None)
            if malformed is not None:
                return _invalid(f"{_shown(malformed)} in rua is not a URI ('!' ',' and ';' must be percent-encoded)")
            uris.extend(published)
        elif not _NAME.fullmatch(name):
            return _invalid(f"the field name {_shown(name)} is not 1 to 32 letters, digits, '_', '-' and '.'")
        elif not _VALUE.fullmatch(value):
            return _invalid(f"the field {name} has the value {_shown(value)}, which is empty or has characters not allowed")
    if not uris:
        return _invalid("the record has no rua field")
    usable = tuple(dict.fromkeys(uri for uri in uris if _MAILTO.fullmatch(uri) or _HTTPS.fullmatch(uri)))
    if not usable:
        listed = ", ".join(_shown(uri) for uri in uris[:4]) + (", ..." if len(uris) > 4 else "")
        return _invalid(f"no rua address is a mailto: or https: one that reports can be sent to: {listed}")
    return RptTxt(RptStatus.OK, usable[:MAX_ADDRESSES])


def _fields(record: str) -> list[str]:
    """What stands between the delimiters.  Split by hand: a pattern with white space in it would take quadratic time."""
    *inner, last = record.split(";")[1:]
    fields = [field.strip(" \t") for field in inner]
    last = last.lstrip(" \t")
    return [*fields, last] if last else fields


def _invalid(reason: str) -> RptTxt:
    return RptTxt(RptStatus.INVALID, reason=reason)


def _shown(text: str) -> str:
    """Foreign text, quoted, printable and short, for a reason."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
