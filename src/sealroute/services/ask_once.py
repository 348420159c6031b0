"""ask_once: the same question within one analysis is asked once, whoever asks: every mode then judges the same answers.

A ports.Resolver and a services/gather.StsSource that remember.  Made for one analysis and thrown away with it, so nothing here
outlives a TTL by more than the analysis takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from sealroute.base.dnsdata import Answer, Mx, Tlsa
from sealroute.base.dnssec import SignedAnswer
from sealroute.policy.connector import Connector
from sealroute.policy.evidence import Evidence, StsEvidence
from sealroute.policy.modes import Wishes
from sealroute.ports import Resolver, Signatures
from sealroute.services.gather import Gather, StsSource, looked_at

K = TypeVar("K")
V = TypeVar("V")


class Once(Generic[K, V]):
    """One future per question."""

    def __init__(self) -> None:
        self._known: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer, asked for if nobody has yet."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = asyncio.ensure_future(ask())
        elif known.done():
            return known.result()
        return await asyncio.shield(known)

    @property
    def keys(self) -> tuple[K, ...]:
        """Everything asked, in order."""
        return tuple(self._known)

    async def cancel(self) -> None:
        """Give up what is under way; errors nobody fetched are seen."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)


class AskedOnce:
    """ports.Resolver and ports.Signatures."""

    def __init__(self, resolver: Resolver, signatures: Signatures) -> None:
        self._resolver = resolver
        self._signatures = signatures
        self._answers: Once[tuple[str, str], Answer[Any]] = Once()
        self._signed: Once[tuple[str, str], SignedAnswer] = Once()

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """(type, name) of every look-up."""
        return self._answers.keys

    async def mx(self, name: str) -> Answer[Mx]:
        return await self._answers.get(("MX", name), lambda: self._resolver.mx(name))

    async def a(self, name: str) -> Answer[str]:
        return await self._answers.get(("A", name), lambda: self._resolver.a(name))

    async def aaaa(self, name: str) -> Answer[str]:
        return await self._answers.get(("AAAA", name), lambda: self._resolver.aaaa(name))

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._answers.get(("TLSA", name), lambda: self._resolver.tlsa(name))

    async def txt(self, name: str) -> Answer[str]:
        return await self._answers.get(("TXT", name), lambda: self._resolver.txt(name))

    async def signed(self, name: str, rtype: str) -> SignedAnswer:
        return await self._signed.get((rtype, name), lambda: self._signatures.signed(name, rtype))

    async def close(self) -> None:
        """Give up what is under way; the resolver itself is everybody's."""
        await self._answers.cancel()
        await self._signed.cancel()


class PoliciesOnce:
    """services/gather.StsSource."""

    def __init__(self, policies: StsSource) -> None:
        self._policies = policies
        self._known: Once[str, StsEvidence] = Once()

    async def evidence(self, domain: str, *, recheck: bool = False) -> StsEvidence:
        return await self._known.get(domain, lambda: self._policies.evidence(domain, recheck=recheck))

    async def close(self) -> None:
        """Give up what is under way."""
        await self._known.cancel()


class GatheredOnce:
    """services/plan.Gathers: the evidence of one analysis, gathered once for all modes that look at the same things."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self.trusted = gather.trusted
        self._known: Once[tuple[object, ...], Evidence] = Once()

    async def evidence(self, connector: Connector, domain: str, wishes: Wishes, *, recheck: bool = False) -> Evidence:
        key = (*looked_at(connector, wishes), connector.use_mx_record, connector.smart_hosts, domain, recheck)
        return await self._known.get(key, lambda: self._gather.evidence(connector, domain, wishes, recheck=recheck))

    async def close(self) -> None:
        """Give up what is under way."""
        await self._known.cancel()
