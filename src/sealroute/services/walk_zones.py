"""walk_zones: the chain of trust from the root to a name, zone by zone, as DNS shows it; nothing is judged.

A zone begins where a SOA record stands.  For each the parent's DS and its own DNSKEY are fetched, with their signatures.  The
number of labels walked is bounded.  Sources: [RFC 4035 §5].
"""

from __future__ import annotations

import asyncio

from sealroute.base.dnssec import SignedAnswer, ZoneLink
from sealroute.ports import Signatures

MAX_LABELS = 16


async def walk(source: Signatures, name: str) -> tuple[ZoneLink, ...]:
    """The zones from the root ("") down to the one that holds the name."""
    labels = name.split(".")[-MAX_LABELS:] if name else []
    suffixes = ["", *(".".join(labels[start:]) for start in range(len(labels) - 1, -1, -1))]
    starts = await asyncio.gather(*(source.signed(suffix, "SOA") for suffix in suffixes))
    links = await asyncio.gather(
        *(_link(source, suffix) for suffix, start in zip(suffixes, starts, strict=True) if start.present or suffix == "")
    )
    return tuple(links)


async def _link(source: Signatures, zone: str) -> ZoneLink:
    keys = source.signed(zone, "DNSKEY")
    if not zone:
        return ZoneLink(zone, await keys, None)
    found: tuple[SignedAnswer, SignedAnswer] = await asyncio.gather(keys, source.signed(zone, "DS"))
    return ZoneLink(zone, *found)
