"""reach: open a session to every host of a plan and say nothing but EHLO and QUIT, so that each is seen, not one only.

What comes out are Attempts without recipients, written as delivery writes them; sessions and judgement are delivery's own.
Bounds: addresses per host and in all, sessions at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from sealroute.policy.attempt import Attempt
from sealroute.policy.connector import Connector
from sealroute.policy.decide import HostPlan, Plan
from sealroute.policy.retry import expires_at
from sealroute.ports import Clock, Group
from sealroute.services.attempts import Run
from sealroute.services.deliver import DeliverRules
from sealroute.services.order import MAX_ADDRESSES_PER_RUN, Chance, Order
from sealroute.services.sessions import NotOpened, Sessions

MAX_ADDRESSES = 64
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Reach:
    """Opens and closes."""

    sessions: Sessions
    clock: Clock
    chance: Chance
    rules: DeliverRules

    async def rest(self, plan: Plan, connector: Connector, group: Group, made: Sequence[Attempt]) -> tuple[Attempt, ...]:
        """Attempts at what `made` has not come to: hosts ruled out, and every other address."""
        order = Order(self.chance, self.rules.families, allow_private=self.rules.allow_private_destinations)
        room = asyncio.Semaphore(AT_ONCE)
        runs: list[Run] = []
        waiting: list[Coroutine[None, None, None]] = []
        for host in plan.hosts:
            come_to = {item.ip for item in made if is_of(host, item)}
            run = self._run(plan, connector, group)
            runs.append(run)
            if host.finding is not None:
                if not come_to:
                    run.held(self.clock.now(), host.finding, host)
                continue
            addresses = order.addresses(host, ("", ""))
            if not addresses and not come_to:
                run.held(self.clock.now(), order.switched_off(host), host)
            left = [ip for ip in addresses[:MAX_ADDRESSES_PER_RUN] if ip not in come_to]
            for ip in left[: max(0, MAX_ADDRESSES - len(waiting))]:
                own = self._run(plan, connector, group)
                runs.append(own)
                forbidden = order.forbidden(host.name, ip)
                if forbidden is not None:
                    own.held(self.clock.now(), forbidden, host)
                else:
                    waiting.append(self._look(own, host, ip, room))
        await asyncio.gather(*waiting)
        return tuple(attempt for run in runs for attempt in run.attempts)

    def _run(self, plan: Plan, connector: Connector, group: Group) -> Run:
        now = self.clock.now()
        run = Run(group, connector, self.rules.port, now, expires_at(connector, group.queued_at), [])
        run.plan = plan
        return run

    async def _look(self, run: Run, host: HostPlan, ip: str, room: asyncio.Semaphore) -> None:
        async with room:
            result = await self.sessions.open(host, ip, self.rules.port)
            if result.before is not None:
                run.not_opened(self.clock.now(), host, ip, result.before)
            if isinstance(result, NotOpened):
                run.not_opened(self.clock.now(), host, ip, result)
                return
            try:
                refused = await result.session.greet()
            finally:
                self.sessions.give_back(result, reusable=False)
            run.looked(self.clock.now(), host, ip, result, refused)


def is_of(host: HostPlan, attempt: Attempt) -> bool:
    """Whether an attempt was made at this host of this next hop."""
    if attempt.host != host.name or attempt.requirement != host.requirement:
        return False
    return host.finding is None or attempt.finding == host.finding
