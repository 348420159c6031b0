"""plan: gather and decide, once for all messages that go the same way at the same time.

A plan is used again until the shortest TTL in its evidence runs out; one that rests on anything unknown is never kept.
Look-ups under way are shared.  The cache is bounded; a changed connector has a new key, so nothing old survives it, and so
has a domain under a timed exception, or a message under transport rules.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sealroute.policy.connector import Connector
from sealroute.policy.decide import Plan, decide
from sealroute.policy.evidence import Evidence
from sealroute.policy.modes import Wishes

MAX_PLANS = 20_000

Key = tuple[str, datetime | None, str, str, str, bool, bool]


class Gathers(Protocol):
    """services/gather, as plans need it."""

    @property
    def trusted(self) -> Callable[[], bool]: ...
    async def evidence(self, connector: Connector, domain: str, wishes: Wishes, *, recheck: bool = False) -> Evidence: ...


@dataclass(slots=True)
class _Kept:
    plan: Plan
    until: float


class Plans:
    """The plans in use, by connector, domain and wishes."""

    def __init__(self, gather: Gathers, max_plans: int = MAX_PLANS) -> None:
        self._gather = gather
        self.made: Callable[[Connector, Plan], None] | None = None
        """Hears of every plan newly made; must be quick."""
        self._max = max_plans
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._under_way: dict[Key, asyncio.Future[Plan]] = {}

    def __repr__(self) -> str:
        return f"<Plans {len(self._kept)} kept, {len(self._under_way)} under way>"

    def kept(self, connector: Connector, domain: str, wishes: Wishes) -> Plan | None:
        """The plan at hand, without waiting; None when there is none that is still good."""
        key = _key(connector, domain, wishes)
        kept = self._kept.get(key)
        if kept is None:
            return None
        # What was planned while the resolver was trusted must not outlive that, and the other way round.
        stale = kept.plan.evidence.resolver_trusted != self._gather.trusted()
        if stale or kept.until <= asyncio.get_running_loop().time():
            del self._kept[key]
            return None
        return kept.plan

    async def plan(self, connector: Connector, domain: str, wishes: Wishes) -> Plan:
        """The plan at hand, or a new one."""
        kept = self.kept(connector, domain, wishes)
        return kept if kept is not None else await self.afresh(connector, domain, wishes)

    async def afresh(self, connector: Connector, domain: str, wishes: Wishes, *, recheck: bool = False) -> Plan:
        """A plan made now; `recheck` looks at the MTA-STS id once more, and is never shared."""
        key = _key(connector, domain, wishes)
        if recheck:
            return await self._make(key, connector, domain, wishes, recheck=True)
        waiting = self._under_way.get(key)
        if waiting is None:
            task = asyncio.ensure_future(self._make(key, connector, domain, wishes, recheck=False))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
            waiting = task
        # Shielded: a caller that gives up must not take the look-up from the others.
        return await asyncio.shield(waiting)

    def _finished(self, key: Key, task: asyncio.Future[Plan]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone

    async def _make(self, key: Key, connector: Connector, domain: str, wishes: Wishes, *, recheck: bool) -> Plan:
        evidence = await self._gather.evidence(connector, domain, wishes, recheck=recheck)
        plan = decide(connector, evidence, wishes)
        if self.made is not None:
            self.made(connector, plan)
        self._kept.pop(key, None)
        if evidence.ttl_seconds > 0:
            self._kept[key] = _Kept(plan, asyncio.get_running_loop().time() + evidence.ttl_seconds)
            if len(self._kept) > self._max:
                self._kept.popitem(last=False)
        return plan

    def forget(self, connector: Connector, domain: str, wishes: Wishes) -> None:
        """Drop a plan whose hosts failed, so that the next message asks DNS anew."""
        self._kept.pop(_key(connector, domain, wishes), None)


def _key(connector: Connector, domain: str, wishes: Wishes) -> Key:
    changed, exception, rules = connector.when_changed, connector.exception_id, connector.rule_key
    return connector.guid, changed, exception, rules, domain, wishes.require_tls, wishes.tls_required_no
