"""What stands in for parts of a gateway in the scenario tests: the policy cache, the notices, and an ear at the resolver."""

from __future__ import annotations

from datetime import datetime

from sealroute.base.dnsdata import Answer, Mx, Tlsa
from sealroute.base.mail import Message
from sealroute.ports import CachedPolicy, Group, Resolver
from sealroute.services.attempts import Run


class AskedResolver:
    """ports.Resolver that notes what is asked."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.asked: list[tuple[str, str]] = []

    async def mx(self, name: str) -> Answer[Mx]:
        self.asked.append(("MX", name))
        return await self._resolver.mx(name)

    async def a(self, name: str) -> Answer[str]:
        self.asked.append(("A", name))
        return await self._resolver.a(name)

    async def aaaa(self, name: str) -> Answer[str]:
        self.asked.append(("AAAA", name))
        return await self._resolver.aaaa(name)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        self.asked.append(("TLSA", name))
        return await self._resolver.tlsa(name)

    async def txt(self, name: str) -> Answer[str]:
        self.asked.append(("TXT", name))
        return await self._resolver.txt(name)

    async def close(self) -> None:
        """The resolver is everybody's."""


class MemoryCache:
    """ports.PolicyCache."""

    def __init__(self, *policies: CachedPolicy) -> None:
        self._policies = {policy.domain: policy for policy in policies}

    async def get(self, domain: str) -> CachedPolicy | None:
        return self._policies.get(domain)

    async def put(self, policy: CachedPolicy) -> None:
        self._policies[policy.domain] = policy

    async def remove(self, domain: str) -> None:
        self._policies.pop(domain, None)

    async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
        return [policy for policy in self._policies.values() if policy.expires_at < before][:limit]


class NoNotices:
    """What services/bounce would make of a run is tested elsewhere."""

    def after_run(self, message: Message, run: Run) -> tuple[tuple[Message, tuple[Group, ...]], ...]:
        return ()
