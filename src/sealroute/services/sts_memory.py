"""What services/sts remembers of each domain, bounded by an estimate of its size.

Forgetting is always safe: policies are in the persistent cache, everything else can be asked again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from sealroute.policy.evidence import FetchFailure, StsEvidence
from sealroute.ports import CachedPolicy
from sealroute.proto.mtasts.policy import StsPolicy

MEMORY_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES = 2048
_BYTES_PER_CHARACTER = 12
"""The worst a policy text costs, split up into patterns."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy as stored, and as read; `policy` is None when the stored text does not parse."""

    stored: CachedPolicy
    policy: StsPolicy | None

    def valid(self, now: datetime) -> bool:
        return self.policy is not None and now < self.stored.expires_at


@dataclass(frozen=True, slots=True)
class Failed:
    """A fetch (or look-up) that failed, and until when it is not tried again."""

    policy_id: str
    until: datetime
    failure: FetchFailure
    detail: str


@dataclass(frozen=True, slots=True)
class Known:
    """All that is remembered of one domain; `evidence` is given out until `until`, the rest outlives it."""

    evidence: StsEvidence
    until: datetime
    kept: Kept | None = None
    failed: Failed | None = None

    @property
    def size_bytes(self) -> int:
        characters = len(self.kept.stored.text) if self.kept is not None else 0
        return _ENTRY_BYTES + _BYTES_PER_CHARACTER * characters


class Memory:
    """Domains in the order of their last use; the longest unused go first."""

    def __init__(self, limit_bytes: int = MEMORY_BYTES) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._entries: OrderedDict[str, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, domain: str) -> Known | None:
        known = self._entries.get(domain)
        if known is not None:
            self._entries.move_to_end(domain)
        return known

    def put(self, domain: str, known: Known) -> None:
        self.forget(domain)
        self._entries[domain] = known
        self._size += known.size_bytes
        while self._size > self._limit and len(self._entries) > 1:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size_bytes

    def forget(self, domain: str) -> None:
        known = self._entries.pop(domain, None)
        if known is not None:
            self._size -= known.size_bytes
