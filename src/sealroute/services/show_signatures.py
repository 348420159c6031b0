"""show_signatures: which names of a domain's mail carry signatures, and the zones they hang from; looked up, not judged."""

from __future__ import annotations

import asyncio

from sealroute.base.dnssec import SignedAnswer, ZoneLink
from sealroute.policy.evidence import Evidence, Hop, HostEvidence
from sealroute.ports import Signatures
from sealroute.services.walk_zones import walk

MAX_NAMES = 40
"""Names whose zones and signatures are shown; a bound on what an MX answer can make us ask."""


async def signatures_of(source: Signatures, evidence: Evidence) -> tuple[tuple[ZoneLink, ...], tuple[SignedAnswer, ...]]:
    """(zones, parents first, each once; answers with their signatures) behind the evidence."""
    names: dict[str, None] = {hop.name: None for hop in evidence.hops if not _is_literal(hop)}
    wanted: dict[tuple[str, str], None] = {}
    for hop in evidence.hops:
        if hop.mx is not None:
            wanted[hop.name, "MX"] = None
        for host in hop.hosts:
            if not host.is_literal:
                names |= _names(host)
                wanted |= _answers(host, evidence.port)
    chains = await asyncio.gather(*(walk(source, name) for name in list(names)[:MAX_NAMES]))
    signed = await asyncio.gather(*(source.signed(name, rtype) for name, rtype in list(wanted)[: 3 * MAX_NAMES]))
    links = {link.zone: link for chain in chains for link in chain}
    return tuple(links.values()), tuple(signed)


def _is_literal(hop: Hop) -> bool:
    return any(host.is_literal for host in hop.hosts)


def _names(host: HostEvidence) -> dict[str, None]:
    found = {host.name: None}
    for answer in (host.a, host.aaaa):
        if answer is not None and answer.aliases:
            found[answer.final_name] = None
    return found


def _answers(host: HostEvidence, port: int) -> dict[tuple[str, str], None]:
    found: dict[tuple[str, str], None] = {}
    for rtype, answer in (("A", host.a), ("AAAA", host.aaaa)):
        if answer is not None and (answer.records or answer.failed):
            found[answer.final_name, rtype] = None
    for lookup in host.tlsa:
        if lookup.answer.records or lookup.answer.failed:
            found[f"_{port}._tcp.{lookup.base}", "TLSA"] = None
    return found
