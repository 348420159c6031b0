"""gather: ask DNS and the MTA-STS cache about the way to one recipient domain; decide nothing.

All I/O of a plan is here.  What may be asked (no TLSA where DANE cannot apply) is told by policy/rows.  Counts a peer
controls are bounded: hosts of an MX answer and addresses of a host beyond the bounds are left out.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from sealroute.base.dnsdata import Answer, Mx, Outcome
from sealroute.base.names import parse_ip
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Evidence, Hop, HopKind, HostEvidence, StsEvidence, TlsaLookup
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.policy.rows import dane_mode, sts_mode, tlsa_bases
from sealroute.ports import Clock, Resolver

MAX_HOSTS = 20
MAX_ADDRESSES = 16
MAX_CIDR_ADDRESSES = 256
LONGEST_TTL_SECONDS = 300
"""The longest a plan is used again, whatever the TTLs say."""


class StsSource(Protocol):
    """services/sts, as gather needs it."""

    async def evidence(self, domain: str, *, recheck: bool = False) -> StsEvidence: ...


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Gather:
    """The gatherer: what it asks of, and the port that is dialled (TLSA names carry it)."""

    resolver: Resolver
    policies: StsSource
    clock: Clock
    port: int = 25
    trusted: Callable[[], bool] = _always
    """Whether the resolver passed its canaries."""
    why_not: Callable[[], str] = str
    """Why it is not trusted."""

    async def evidence(self, connector: Connector, domain: str, wishes: Wishes, *, recheck: bool = False) -> Evidence:
        """Everything known about the way to a domain; `recheck` asks for the MTA-STS id once more [RFC 8461 §5]."""
        trusted = self.trusted()
        look_tlsa, look_sts = looked_at(connector, wishes)
        names = (domain,) if connector.use_mx_record else connector.smart_hosts
        policy_domains = tuple(dict.fromkeys(map(_policy_domain, names))) if look_sts else ()
        hops, sts = await asyncio.gather(
            asyncio.gather(*(self._hop(connector, name, look_tlsa) for name in names)),
            asyncio.gather(*(self.policies.evidence(name, recheck=recheck) for name in policy_domains if name)),
        )
        # Trusted before and after: answers that came in between are no better than the worse of the two.
        trusted = trusted and self.trusted()
        why_not = "" if trusted else self.why_not()
        evidence = Evidence(domain, tuple(hops), tuple(sts), self.clock.now(), 0, self.port, trusted, why_not)
        return replace(evidence, ttl_seconds=_ttl(evidence))

    async def _hop(self, connector: Connector, name: str, look_tlsa: bool) -> Hop:
        if not connector.use_mx_record:
            return await self._smart_host(name, look_tlsa)
        if name.startswith("["):
            # An address literal [RFC 5321 §4.1.3]: no name, so nothing to look up and nothing to prove.
            host = HostEvidence(_address_text(name), is_literal=True, literal_addresses=_literal_addresses(name), from_mx=False)
            return Hop(name, HopKind.MX, None, (host,))
        mx = await self.resolver.mx(name)
        if mx.failed or mx.outcome is Outcome.NXDOMAIN:
            return Hop(name, HopKind.MX, mx, ())
        if mx.outcome is Outcome.NODATA:
            return await self._with_hosts(Hop(name, HopKind.IMPLICIT_MX, mx, ()), (Mx(0, name),), look_tlsa)
        # A null MX counts alone only [RFC 7505 §3]: beside others it is a mistake, and no reason to return mail.
        records = tuple(record for record in mx.records if record.host)
        return await self._with_hosts(Hop(name, HopKind.MX, mx, ()), records, look_tlsa)

    async def _smart_host(self, name: str, look_tlsa: bool) -> Hop:
        """`name`: its MX records if it has some, else itself; `[name]`: itself; IP or CIDR: as written."""
        literal = _literal_addresses(name)
        if literal:
            host = HostEvidence(_address_text(name), is_literal=True, literal_addresses=literal, from_mx=False)
            return Hop(name, HopKind.SMART_HOST, None, (host,))
        if name.startswith("["):
            bare = _bare(name)
            return await self._with_hosts(Hop(bare, HopKind.SMART_HOST, None, ()), (Mx(0, bare),), look_tlsa)
        mx = await self.resolver.mx(name)
        hop = Hop(name, HopKind.SMART_HOST, mx, ())
        if mx.failed:
            return hop
        records = tuple(record for record in mx.records if record.host) or (Mx(0, name),)
        return await self._with_hosts(hop, records, look_tlsa)

    async def _with_hosts(self, hop: Hop, records: tuple[Mx, ...], look_tlsa: bool) -> Hop:
        chosen = sorted(records)[:MAX_HOSTS]
        hosts = await asyncio.gather(*(self._host(hop, record, look_tlsa) for record in chosen))
        return replace(hop, hosts=tuple(hosts))

    async def _host(self, hop: Hop, record: Mx, look_tlsa: bool) -> HostEvidence:
        a, aaaa = await asyncio.gather(self.resolver.a(record.host), self.resolver.aaaa(record.host))
        from_mx = hop.mx is not None and bool(hop.mx.records)
        host = HostEvidence(record.host, record.preference, a=_bounded(a), aaaa=_bounded(aaaa), from_mx=from_mx)
        if not look_tlsa:
            return host
        return replace(host, tlsa=await self._tlsa(hop, host))

    async def _tlsa(self, hop: Hop, host: HostEvidence) -> tuple[TlsaLookup, ...]:
        """Ask base name after base name until one has a secure set, or cannot be told."""
        lookups: list[TlsaLookup] = []
        for base in tlsa_bases(hop, host):
            answer = await self.resolver.tlsa(f"_{self.port}._tcp.{base}")
            lookups.append(TlsaLookup(base, answer))
            if answer.failed or (answer.secure and answer.records):
                break
        return tuple(lookups)


def looked_at(connector: Connector, wishes: Wishes) -> tuple[bool, bool]:
    """Whether the modes in force want TLSA records, and MTA-STS policies; nothing else of them changes what is gathered."""
    return dane_mode(connector, wishes) is not SmtpDaneMode.NONE, sts_mode(connector, wishes) is not MtaStsMode.NONE


def _bounded(answer: Answer[str]) -> Answer[str]:
    return replace(answer, records=answer.records[:MAX_ADDRESSES]) if len(answer.records) > MAX_ADDRESSES else answer


def _bare(name: str) -> str:
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _policy_domain(name: str) -> str:
    """The domain whose MTA-STS policy matters; empty for an address, which has none."""
    return "" if _literal_addresses(name) else _bare(name)


def _address_text(name: str) -> str:
    """An address literal as a plain address; a CIDR block as written."""
    address = parse_ip(name)
    return name if address is None else str(address)


def _literal_addresses(name: str) -> tuple[str, ...]:
    """The addresses an IP or CIDR smart host stands for; empty when it is a name."""
    address = parse_ip(name)
    if address is not None:
        return (str(address),)
    if "/" not in name:
        return ()
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        return ()
    addresses: list[str] = []
    for item in network.hosts() if network.num_addresses > 1 else iter([network.network_address]):
        addresses.append(str(item))
        if len(addresses) >= MAX_CIDR_ADDRESSES:
            break
    return tuple(addresses)


def _ttl(evidence: Evidence) -> int:
    """How long the evidence may be used: the shortest TTL in it; 0 when anything in it failed."""
    if not evidence.resolver_trusted:
        return 0
    ttl = LONGEST_TTL_SECONDS
    for hop in evidence.hops:
        answers: list[Answer[object]] = [hop.mx] if hop.mx is not None else []
        for host in hop.hosts:
            answers += [answer for answer in (host.a, host.aaaa) if answer is not None]
            answers += [lookup.answer for lookup in host.tlsa]
        for answer in answers:
            if answer.failed:
                return 0
            ttl = min(ttl, answer.ttl_seconds)
    for policy in evidence.sts:
        if policy.failure is not None or (policy.txt is not None and policy.txt.failed):
            return 0
        if policy.txt is not None:
            ttl = min(ttl, policy.txt.ttl_seconds)
    return max(ttl, 0)
