"""`Get-OutboundConnector | ConvertTo-Json`: one object, or an array of them.

Duplicate keys that differ only in case are PowerShell's own ({"value": 3, "Value": "DomainValidation"} for an enum); the same
key twice is refused, because either might be the one that counts.
"""

from __future__ import annotations

import json
from typing import Any

from sealroute.base.errors import InputError
from sealroute.proto.exchange.export import Exported, bounded, text_of

MAX_DEPTH = 30


def read_json(raw: bytes) -> tuple[Exported, ...]:
    """The objects in the file; raises InputError."""
    try:
        value = json.loads(text_of(raw), object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise InputError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        # Also a number of so many digits that Python refuses to read it.
        raise InputError(f"the JSON cannot be read: {error}") from None
    items = value if isinstance(value, list) else [value]
    records = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise InputError(f"object {number} is not a JSON object")
        _check_depth(item, number)
        records.append(Exported(f"object {number}", item))
    return bounded(records)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"the property {key!r} is given twice in one object")
        found[key] = value
    return found


def _no_number(word: str) -> Any:
    raise InputError(f"{word} is not a JSON value")


def _check_depth(value: Any, number: int) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
                 if isinstance(inner, (dict, list))]  # fmt: skip
        if not level:
            return
    raise InputError(f"object {number} is nested more than {MAX_DEPTH} deep")
