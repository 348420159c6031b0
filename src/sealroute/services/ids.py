"""Ids of messages and groups: UUIDs that sort by the time they were made [RFC 9562 §5.7].

The twelve bits after the version hold the fraction of the millisecond [RFC 9562 §6.2, method 3], so that ids of one
process sort to about a quarter of a microsecond; the other 62 bits are random.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from sealroute.base import times

Random = Callable[[int], bytes]
"""So many random octets."""
BLOCK_OCTETS = 512


class IdSource:
    """Makes ids; call it with the moment that the id shall sort by."""

    def __init__(self, random: Random = secrets.token_bytes) -> None:
        self._random = random
        self._drawn = b""

    def __call__(self, now: datetime) -> str:
        milliseconds, microseconds = divmod(times.to_us(now), 1000)
        fraction = microseconds * 4096 // 1000
        tail = int.from_bytes(self._eight_octets(), "big") & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        digits = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}7{fraction:03x}{tail:016x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _eight_octets(self) -> bytes:
        """Drawn in blocks: asking the system for each id costs more than making the id."""
        if not self._drawn:
            self._drawn = self._random(BLOCK_OCTETS)
        octets, self._drawn = self._drawn[:8], self._drawn[8:]
        return octets
