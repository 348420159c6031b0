"""One object of an Exchange export, in plain values, and the bounds that every reader of exports keeps.

The three readers (json_export, clixml, csv_export) give the same plain values for the same property: text, Booleans, numbers,
None, lists, and mappings for what PowerShell wraps.  What a property means is not known here (services/importing/exchange).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroute.base.errors import InputError

MAX_OCTETS = 16 * 1024 * 1024
MAX_RECORDS = 5000
MAX_PROPERTIES = 500


@dataclass(frozen=True, slots=True)
class Exported:
    """One exported object."""

    where: str
    """Where it stands in the file: `object 3`, `row 12`."""
    values: Mapping[str, Any]
    """By property name, as spelled in the file."""
    flattened: bool = False
    """All values are text, lists included (CSV)."""


def text_of(raw: bytes) -> str:
    """The file's text: UTF-8, or UTF-16 with its mark as Windows PowerShell writes; raises InputError."""
    if len(raw) > MAX_OCTETS:
        raise InputError(f"the file has more than {MAX_OCTETS} octets")
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"octet {error.start + 1} of the file is not {encoding.removesuffix('-sig').upper()}") from None


def bounded(records: list[Exported]) -> tuple[Exported, ...]:
    """The records, if there are some and not too many; raises InputError."""
    if not records:
        raise InputError("the file holds no object")
    if len(records) > MAX_RECORDS:
        raise InputError(f"the file holds more than {MAX_RECORDS} objects")
    for record in records:
        if len(record.values) > MAX_PROPERTIES:
            raise InputError(f"{record.where} has more than {MAX_PROPERTIES} properties")
    return tuple(records)
