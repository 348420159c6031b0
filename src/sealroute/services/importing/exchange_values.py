"""Exported values as the plain JSON that policy/connector_json reads: one function per shape PowerShell gives.

Nothing is guessed: an enum's bare number is refused, since a wrong guess could be a weaker setting.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sealroute.base.errors import InputError
from sealroute.base.times import EPOCH, rfc3339
from sealroute.policy.parameter_kinds import show_duration

_DATE = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/", re.ASCII)
_DOTNET = re.compile(r"(System\.|Microsoft\.|Deserialized\.)[\w.`\[\],]+(\[\])?", re.ASCII)
LOST_LIST = "PowerShell wrote the list's type in place of its items"


def plain(value: Any, *, many: bool, moment: bool, duration: bool) -> Any:
    """The value of one parameter; raises InputError."""
    if many:
        return [_duration(item) if duration else _text(item) for item in _items(value)]
    if value is None or value == "":
        return None
    if moment:
        return _moment(value)
    if duration:
        return _duration(value)
    return _text(value)


def _items(value: Any) -> list[Any]:
    if value is None or value == "" or value == {}:
        return []
    if isinstance(value, dict) and isinstance(value.get("value"), list):
        return list(value["value"])  # Windows PowerShell wraps an array that has been piped
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        return [value]
    if _DOTNET.fullmatch(value.strip()):
        raise InputError(LOST_LIST)
    bare = value.strip().removeprefix("{").removesuffix("}")
    if bare.endswith(("...", "…")):
        raise InputError("the list was cut short when it was written")
    return [item for item in re.split(r"[,;\s]+", bare) if item]


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        for key in ("Value", "Guid", "Address"):
            if isinstance(value.get(key), str):
                return _text(value[key])
        raise InputError("it is an object of a shape that is not known; export it with more -Depth, or as text")
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        raise InputError(f"{value} is a bare number; its meaning is not guessed: export with -EnumsAsStrings or as CSV")
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" or c == "\0" for c in value):
            raise InputError("it has a character that is half of one")
        return value
    raise InputError("it is a list where one value belongs")


def _moment(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("value", value.get("DateTime"))
    if not isinstance(value, str):
        raise InputError("it is not a date and time")
    try:
        if match := _DATE.fullmatch(value.strip()):
            return rfc3339(EPOCH + timedelta(milliseconds=int(match[1])))
        # .NET writes seven decimals; a time without zone is of a ...UTC property.
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.strip()))
        return rfc3339(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise InputError(f"{value[:40]!r} is not a date and time in ISO 8601 or /Date(...)/ form") from None


def _duration(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("Ticks"), int):
        try:
            return show_duration(timedelta(microseconds=value["Ticks"] // 10))
        except OverflowError:
            raise InputError("its Ticks are out of bounds") from None
    if isinstance(value, str):
        return value
    raise InputError("it is not a length of time")
