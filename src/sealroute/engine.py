"""Delivery's engine put together, as the gateway and single commands use it: gather, decide, dial, judge."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from sealroute.base.chain import TrustRoots
from sealroute.base.errors import OperatorError
from sealroute.from_settings import deliver_rules, dial_settings, session_limits
from sealroute.net.clock import SystemClock
from sealroute.net.dial import SmtpDialer
from sealroute.net.tls import system_roots_pem
from sealroute.parts import open_canary, open_fetcher, open_resolver, text_of
from sealroute.policy.connector import Connector
from sealroute.policy.decide import Plan
from sealroute.policy.verdict import judge
from sealroute.ports import Clock, PolicyCache, PolicyFetcher, Resolver, ShowingResolver
from sealroute.services.analyze import Analyzer, Engine
from sealroute.services.canary import Canary
from sealroute.services.deliver import Deliver
from sealroute.services.gather import Gather
from sealroute.services.ids import IdSource
from sealroute.services.plan import Plans
from sealroute.services.probe import Probes
from sealroute.services.reach import Reach
from sealroute.services.sessions import Sessions
from sealroute.services.sts import StsPolicies
from sealroute.services.sts_caches import NothingKept, OnlyRead
from sealroute.services.validate import Bench, NoNotices, Sender, validate
from sealroute.services.validation.model import Validation
from sealroute.settings import Settings
from sealroute.settings.hurry import hurried
from sealroute.store.store import open_store


@dataclass(frozen=True, slots=True)
class Outside:
    """Whom we ask about destinations, and by which clock."""

    clock: Clock
    resolver: ShowingResolver
    canary: Canary
    """Says whether the resolver may be believed."""
    fetcher: PolicyFetcher
    policies: StsPolicies

    async def close(self) -> None:
        await self.policies.close()
        await self.fetcher.close()
        await self.resolver.close()


def open_outside(settings: Settings, clock: Clock, cache: PolicyCache) -> Outside:
    """Call it inside a running event loop; `cache` is what is known of MTA-STS policies from before."""
    resolver = open_resolver(settings)
    canary = open_canary(settings, resolver, clock)
    fetcher = open_fetcher(settings, resolver)
    return Outside(clock, resolver, canary, fetcher, StsPolicies(resolver, fetcher, cache, clock))


def delivery_engine(settings: Settings, outside: Outside) -> tuple[Plans, Sessions]:
    """For services/deliver."""
    canary = outside.canary
    gather = Gather(
        outside.resolver, outside.policies, outside.clock, settings.delivery.smtp_port, canary.trusted, canary.why_not
    )
    roots = trust_roots(settings)
    dialer = SmtpDialer(dial_settings(settings))
    return Plans(gather), Sessions(dialer, lambda need, facts: judge(need, facts, roots), session_limits(settings))


def analysis_engine(settings: Settings, outside: Outside, fresh: StsPolicies | None = None) -> Engine:
    """For services/analyze.  `fresh`: MTA-STS for one who has never heard of a domain; None: what delivery knows."""
    resolver, policies, canary = outside.resolver, outside.policies, outside.canary
    roots, rules = trust_roots(settings), deliver_rules(settings)
    return Engine(
        resolver, resolver, policies, fresh or policies, roots, outside.clock, rules, canary.trusted, canary.why_not
    )  # fmt: skip


def trust_roots(settings: Settings) -> TrustRoots:
    """The authorities that certificates are checked against."""
    return TrustRoots.from_pem(system_roots_pem(text_of(settings.tls.ca_file)))


# ------------------------------------------------------------------------------------------------ for single commands


@contextlib.asynccontextmanager
async def open_validation(
    settings: Settings, connector_for: Callable[[str], Connector]
) -> AsyncIterator[Callable[[Sequence[str]], Awaitable[Validation]]]:
    """Delivery's own engine bound to one connector, as it applies to a domain, for Validate-OutboundConnector."""
    store = open_store(settings.store.url)
    clock = SystemClock()
    outside = open_outside(settings, clock, store.policies)
    plans, sessions = delivery_engine(settings, outside)
    planned: dict[str, Plan] = {}
    plans.made = lambda _, plan: planned.update({plan.evidence.domain: plan})
    rules = deliver_rules(settings)
    deliver = Deliver(
        lambda _, domain: connector_for(domain), plans, sessions, NoNotices(), clock, random.random, rules
    )  # fmt: skip
    reach = Reach(sessions, clock, random.random, rules)
    bench = Bench(deliver, reach, sessions.judge, planned.get, connector_for)

    async def run(recipients: Sequence[str]) -> Validation:
        await outside.canary.probe()
        sender = Sender(settings.hostname, settings.postmaster)
        return await validate(bench, recipients, sender, IdSource(), clock.now())

    try:
        yield run
    finally:
        await sessions.close()
        await outside.close()
        await store.close()


@contextlib.asynccontextmanager
async def open_analyzer(
    settings: Settings, *, step_seconds: float | None = None
) -> AsyncIterator[tuple[Analyzer, Canary, Resolver]]:
    """Delivery's own engine on probes, its resolver probed already; `step_seconds` bounds each look-up, connection and reply.

    What the store has kept of MTA-STS counts as it does for delivery, and is not changed; without a store that can be opened,
    nothing is known from before.
    """
    settings = hurried(settings, step_seconds)
    store = None
    with contextlib.suppress(OperatorError):
        store = open_store(settings.store.url)
    outside = open_outside(settings, SystemClock(), OnlyRead(store.policies) if store else NothingKept())
    fresh = StsPolicies(outside.resolver, outside.fetcher, NothingKept(), outside.clock)
    engine = analysis_engine(settings, outside, fresh)
    probes = Probes(SmtpDialer(dial_settings(settings)))
    try:
        await outside.canary.probe()
        yield Analyzer(engine, probes), outside.canary, outside.resolver
    finally:
        await probes.close()
        await fresh.close()
        await outside.close()
        if store is not None:
            await store.close()
