"""Moments in time: aware datetimes in UTC inside, RFC 3339 and RFC 5322 outside, microseconds in the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def rfc3339(moment: datetime) -> str:
    """The moment as RFC 3339 in UTC, e.g. `2026-11-22T01:39:36.120000Z` (no fraction when it is zero)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """The aware moment that RFC 3339 text names; raises ValueError when it is not one or has no zone."""
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it as 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


def rfc5322(moment: datetime) -> str:
    """The moment as a mail header date [RFC 5322 §3.3]."""
    return _rfc5322_of_second((moment - EPOCH) // _SECOND)


@lru_cache(maxsize=16)
def _rfc5322_of_second(seconds: int) -> str:
    """Every message has one, and a busy gateway takes many a second."""
    return format_datetime(EPOCH + seconds * _SECOND)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC, the store's unit."""
    return (moment - EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The aware moment of a stored microsecond count."""
    return EPOCH + timedelta(microseconds=microseconds)


def span(length: timedelta) -> str:
    """A span in its two largest units: `3d 4h`, `12m 5s`, `0s`."""
    seconds = max(0, int(length.total_seconds()))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0s"
