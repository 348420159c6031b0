"""The persistent MTA-STS cache: ports.PolicyCache [RFC 8461 §5.1].

It keeps what it was given until it is replaced or removed; whether a policy has expired is for the reader to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from sealroute.base.times import from_us, to_us
from sealroute.ports import CachedPolicy
from sealroute.store import statements as sql
from sealroute.store.engine import Readers
from sealroute.store.schema import sts_policy
from sealroute.store.together import Together
from sealroute.store.writer import Job, Writer

_OF_DOMAINS = select(sts_policy).where(sts_policy.c.domain.in_(bindparam("domains", expanding=True)))


class SqlPolicyCache:
    """Policies by domain, shared by nodes."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._together = Together(self._read)

    async def get(self, domain: str) -> CachedPolicy | None:
        """The policy kept for the domain, expired or not."""
        return await self._together.get(domain)

    async def _read(self, domains: Sequence[str]) -> Mapping[str, CachedPolicy]:
        rows = await self._readers.run(lambda connection: connection.execute(_OF_DOMAINS, {"domains": domains}).all())
        return {row.domain: _policy_of(row) for row in rows}

    async def put(self, policy: CachedPolicy) -> None:
        """Keep it instead of what was kept for its domain."""
        row = (
            policy.domain,
            policy.policy_id,
            policy.text,
            to_us(policy.fetched_at),
            to_us(policy.expires_at),
            to_us(policy.checked_at),
        )
        await self._writer.run(Job([(sql.PUT_POLICY, [row])], size_bytes=len(policy.text)))

    async def remove(self, domain: str) -> None:
        """Forget it, if there is one."""
        await self._writer.run(Job([(sql.DELETE_POLICY, [(domain,)])]))

    async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
        """Policies that end before the moment, the first to end first."""
        query = select(sts_policy).where(sts_policy.c.expires_us < to_us(before)).order_by(sts_policy.c.expires_us).limit(limit)
        rows = await self._readers.run(lambda connection: connection.execute(query).all())
        return [_policy_of(row) for row in rows]


def _policy_of(row: Any) -> CachedPolicy:
    return CachedPolicy(
        domain=row.domain,
        policy_id=row.policy_id,
        text=row.text,
        fetched_at=from_us(row.fetched_us),
        expires_at=from_us(row.expires_us),
        checked_at=from_us(row.checked_us),
    )
