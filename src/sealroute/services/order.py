"""order: which host and which address next, and which addresses not at all [ADR 7.9].

Smart hosts in the order given; within one next hop hosts by ascending preference, equal ones shuffled [RFC 5321 §5.1];
addresses by the operator's order of families, the family that failed last at this host behind the other.  A route that
greylisted us comes before everything: it knows us by now.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby

from sealroute.policy.decide import HostPlan
from sealroute.policy.reasons import Finding, Reason

MAX_ADDRESSES_PER_RUN = 16
MAX_REMEMBERED_HOSTS = 10_000

Chance = Callable[[], float]
"""A random number from 0 up to 1."""
Route = tuple[str, str]
"""(host, address)."""


class Order:
    """Remembers, for hosts that could not be reached, by which family of addresses."""

    def __init__(self, chance: Chance, families: tuple[int, ...] = (6, 4), *, allow_private: bool = False) -> None:
        self._chance = chance
        self._families = families
        self._allow_private = allow_private
        self._last_failed: dict[str, int] = {}

    def hosts(self, hosts: Sequence[HostPlan], route: Route) -> list[tuple[int, HostPlan]]:
        """The hosts in the order to be tried, each with its rank: how many are preferred to it."""
        if len(hosts) == 1:
            return [(0, hosts[0])]
        shuffled: list[HostPlan] = []
        for _, equal in groupby(hosts, key=lambda host: (host.hop, host.preference)):
            tier = list(equal)
            while tier:
                shuffled.append(tier.pop(int(self._chance() * len(tier)) % len(tier)))
        ranked = list(enumerate(shuffled))
        ranked.sort(key=lambda item: item[1].name != route[0])  # stable: only the greylisting host moves
        return ranked

    def addresses(self, host: HostPlan, route: Route) -> list[str]:
        """The host's addresses in the order to be tried; empty when all are of families that are switched off."""
        families = self._families
        addresses = [ip for ip in host.addresses if _family(ip) in families]
        if len(addresses) > MAX_ADDRESSES_PER_RUN:
            # A block of addresses: begin anywhere in it, so that in time every one has its turn.
            start = int(self._chance() * len(addresses)) % len(addresses)
            addresses = addresses[start:] + addresses[:start]
        if len(addresses) > 1:
            failed = self._last_failed.get(host.name)
            addresses.sort(key=lambda ip: (_family(ip) == failed, families.index(_family(ip))))
            if route[0] == host.name and route[1] in addresses:
                addresses.remove(route[1])
                addresses.insert(0, route[1])
        return addresses

    def failed(self, host: str, ip: str) -> None:
        """This address could not be reached."""
        if len(self._last_failed) >= MAX_REMEMBERED_HOSTS:
            self._last_failed.clear()
        self._last_failed[host] = _family(ip)

    def forbidden(self, host: str, ip: str) -> Finding | None:
        """Why this address may not be dialled; guards against MX records that point into our own network."""
        if self._allow_private or _is_public(ip):
            return None
        detail = f"{ip} is not a public address, and delivery.allow_private_destinations is off"
        return Finding(Reason.ADDRESS_NOT_ALLOWED, detail, host, ip=ip)

    def switched_off(self, host: HostPlan) -> Finding:
        """Why a host has no address that may be tried, although DNS gives some."""
        off = " and ".join(f"IPv{family}" for family in (6, 4) if family not in self._families)
        detail = f"{host.name} has no address but of {off}, which delivery.address_families leaves out"
        return Finding(Reason.ADDRESS_NOT_ALLOWED, detail, host.name)


def _family(ip: str) -> int:
    return 6 if ":" in ip else 4


@lru_cache(maxsize=4096)
def _is_public(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    inner = (address.ipv4_mapped or address.sixtofour) if address.version == 6 else None
    return all(item.is_global and not item.is_multicast for item in (address, inner) if item is not None)
