"""The `_mta-sts` TXT record [RFC 8461 §3.1].

`parse_txt` judges the whole record set.  Rules that hold: it never raises; every reason is bounded in length whatever the
records hold; only a set that yields exactly one grammatical record is OK.  What a status means for a cached policy is
decided in services/sts, not here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class TxtStatus(Enum):
    """What a TXT record set says about MTA-STS."""

    OK = "ok"
    """Exactly one valid record: there should be a policy, under this id."""
    NONE = "none"
    """No record that begins with `v=STSv1`: the domain does not take part."""
    INVALID = "invalid"
    """Several such records, or one that breaks the grammar: treated as not taking part [RFC 8461 §3.1], and reported."""


@dataclass(frozen=True, slots=True)
class StsTxt:
    """A judged TXT record set."""

    status: TxtStatus
    id: str | None = None
    reason: str | None = None


# sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]
# sts-field       = sts-id / sts-extension            ; sts-id is required
# sts-field-delim = *WSP ";" *WSP
# sts-version     = %s"v=STSv1"
# sts-id          = %s"id=" 1*32(ALPHA / DIGIT)
# sts-extension   = sts-ext-name "=" sts-ext-value
# sts-ext-name    = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
# sts-ext-value   = 1*(%x21-3A / %x3C / %x3E-7E)      ; no "=", ";", SP, CTLs
_BEGINS = re.compile(r"v=STSv1[ \t]*;")
_NEARLY = re.compile(r"v=STSv1(?![A-Za-z0-9_.\-])")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,31}")
_VALUE = re.compile(r"[\x21-\x3a\x3c\x3e-\x7e]+")


def parse_txt(records: Sequence[str]) -> StsTxt:
    """Judge all TXT records found at `_mta-sts.<domain>`, the strings of each already joined."""
    ours = [record for record in records if _BEGINS.match(record)]
    if len(ours) > 1:
        return _invalid(f"{len(ours)} records begin with v=STSv1; there must be exactly one")
    if ours:
        return _parse_record(ours[0])
    # Not beginning with `v=STSv1;` they are to be discarded; but whoever published one meant to take part, and is told.
    nearly = next((record for record in records if _NEARLY.match(record)), None)
    if nearly is None:
        return StsTxt(TxtStatus.NONE)
    if nearly == "v=STSv1":
        return _invalid("the record has no id field")
    return _invalid(f"v=STSv1 must be followed by a semicolon, not by {_shown(nearly[7:])}")


def _parse_record(record: str) -> StsTxt:
    fields = _fields(record)
    policy_id: str | None = None
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            return _invalid(f"{_shown(field)} is not a field; fields are written name=value")
        if name == "id" and policy_id is None:
            # [RFC 8461 §3.2]: of a field that may not be repeated, the first entry counts and the others are ignored.
            if not _ID.fullmatch(value):
                return _invalid(f"the id {_shown(value)} is not 1 to 32 letters and digits")
            policy_id = value
        elif not _NAME.fullmatch(name):
            return _invalid(f"the field name {_shown(name)} is not 1 to 32 letters, digits, '_', '-' and '.'")
        elif not _VALUE.fullmatch(value):
            return _invalid(f"the field {name} has the value {_shown(value)}, which is empty or has characters not allowed")
    if policy_id is None:
        return _invalid("the record has no id field")
    return StsTxt(TxtStatus.OK, policy_id)


def _fields(record: str) -> list[str]:
    """What stands between the delimiters.  Split by hand: a pattern with white space in it would take quadratic time."""
    *inner, last = record.split(";")[1:]
    fields = [field.strip(" \t") for field in inner]
    last = last.lstrip(" \t")
    return [*fields, last] if last else fields


def _invalid(reason: str) -> StsTxt:
    return StsTxt(TxtStatus.INVALID, reason=reason)


def _shown(text: str) -> str:
    """Foreign text, quoted, printable and short, for a reason."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
