"""The `_mta-sts` TXT record [RFC 8461 §3.1]."""

from __future__ import annotations

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
