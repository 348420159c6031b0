"""The MTA-STS policy file [RFC 8461 §3.2]."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class StsMode(Enum):
    """The policy's mode [RFC 8461 §5]."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """One valid policy."""

    mode: StsMode
    max_age_seconds: int
    mx: tuple[str, ...]
    """Patterns in compared form, `*.` first for a wildcard."""
    text: str = ""
    """The policy as fetched, for reports and the trace."""
