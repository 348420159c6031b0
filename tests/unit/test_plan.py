"""Plans: kept by TTL, never when anything in them is unknown, shared while they are made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sealroute.base.dnsdata import Mx
from sealroute.base.errors import StoreUnavailable
from sealroute.policy.connector import Connector
from sealroute.policy.decide import Plan
from sealroute.policy.modes import SmtpDaneMode, Wishes
from sealroute.policy.reasons import Reason
from sealroute.services.gather import Gather
from sealroute.services.plan import Plans
from tests.unit.fakes import NOW, FakeClock, FakeResolver, FakeStsPolicies, turns

CONNECTOR = Connector(guid="g", name="Contoso", when_changed=NOW)
PLAIN = Wishes()


class World:
    def __init__(self, max_plans: int = 100) -> None:
        self.dns, self.sts = FakeResolver(), FakeStsPolicies()
        self.dns.has("MX", "contoso.com", Mx(10, "mx.contoso.com"))
        self.dns.host("mx.contoso.com", "192.0.2.1")
        self.trusted = True
        self.plans = Plans(Gather(self.dns, self.sts, FakeClock(), trusted=lambda: self.trusted), max_plans)

    async def plan(self, connector: Connector = CONNECTOR, domain: str = "contoso.com", wishes: Wishes = PLAIN) -> Plan:
        return await self.plans.plan(connector, domain, wishes)

    @property
    def lookups(self) -> int:
        """How often the way to contoso.com was looked up."""
        return self.dns.asked.count("MX contoso.com")


async def test_a_plan_is_used_again() -> None:
    world = World()
    assert await world.plan() is await world.plan()
    assert world.lookups == 1
    assert repr(world.plans) == "<Plans 1 kept, 0 under way>"


async def test_until_its_shortest_ttl_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.dns.has("A", "mx.contoso.com", "192.0.2.1", ttl=7)
    loop = asyncio.get_running_loop()
    start = loop.time()
    await world.plan()
    monkeypatch.setattr(loop, "time", lambda: start + 6.5)
    await world.plan()
    assert world.lookups == 1
    monkeypatch.setattr(loop, "time", lambda: start + 7.5)
    await world.plan()
    monkeypatch.undo()
    assert world.lookups == 2


@pytest.mark.parametrize(
    ("rtype", "name"),
    [("MX", "contoso.com"), ("A", "mx.contoso.com"), ("AAAA", "mx.contoso.com"), ("TLSA", "_25._tcp.mx.contoso.com")],
)
async def test_a_plan_with_anything_unknown_in_it_is_not_kept(rtype: str, name: str) -> None:
    world = World()
    world.dns.fails(rtype, name)
    await world.plan()
    await world.plan()
    assert world.lookups == 2


async def test_a_plan_made_without_a_trusted_resolver_is_not_kept() -> None:
    world = World()
    world.trusted = False
    mandatory = replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.MANDATORY)
    for trusted, reason in ((False, Reason.RESOLVER_CANNOT_VALIDATE), (True, Reason.DANE_REQUIRED)):
        world.trusted = trusted
        finding = (await world.plan(mandatory)).hosts[0].finding
        assert finding is not None
        assert finding.reason is reason


@pytest.mark.parametrize(
    ("connector", "domain", "wishes"),
    [
        (replace(CONNECTOR, when_changed=NOW + timedelta(microseconds=1)), "contoso.com", PLAIN),
        (replace(CONNECTOR, guid="h"), "contoso.com", PLAIN),
        (CONNECTOR, "fabrikam.com", PLAIN),
        (CONNECTOR, "contoso.com", Wishes(require_tls=True)),
        (CONNECTOR, "contoso.com", Wishes(tls_required_no=True)),
    ],
)
async def test_what_makes_another_plan(connector: Connector, domain: str, wishes: Wishes) -> None:
    world = World()
    first = await world.plan()
    assert await world.plan(connector, domain, wishes) is not first
    assert await world.plan() is first


async def test_afresh_replaces_and_forget_drops() -> None:
    world = World()
    first = await world.plan()
    second = await world.plans.afresh(CONNECTOR, "contoso.com", PLAIN)
    assert (first is second, await world.plan() is second) == (False, True)
    world.plans.forget(CONNECTOR, "contoso.com", PLAIN)
    world.plans.forget(CONNECTOR, "contoso.com", PLAIN)
    assert world.plans.kept(CONNECTOR, "contoso.com", PLAIN) is None


async def test_a_fresh_failure_drops_the_kept_plan() -> None:
    world = World()
    await world.plan()
    world.dns.fails("MX", "contoso.com")
    await world.plans.afresh(CONNECTOR, "contoso.com", PLAIN)
    assert world.plans.kept(CONNECTOR, "contoso.com", PLAIN) is None


async def test_look_ups_under_way_are_shared_and_outlive_who_gives_up() -> None:
    world = World()
    world.dns.gate = asyncio.Event()
    first, second = asyncio.create_task(world.plan()), asyncio.create_task(world.plan())
    await turns()
    first.cancel()
    await turns()
    assert (first.cancelled(), second.done()) == (True, False)
    world.dns.gate.set()
    await second
    assert world.lookups == 1
    assert repr(world.plans) == "<Plans 1 kept, 0 under way>"


async def test_a_recheck_is_never_shared() -> None:
    world = World()
    world.dns.gate = asyncio.Event()
    shared = asyncio.create_task(world.plan())
    recheck = asyncio.create_task(world.plans.afresh(CONNECTOR, "contoso.com", PLAIN, recheck=True))
    await turns()
    world.dns.gate.set()
    await asyncio.gather(shared, recheck)
    assert world.lookups == 2
    assert sorted(world.sts.asked) == [("contoso.com", False), ("contoso.com", True)]


async def test_a_store_error_reaches_everyone_who_waits_and_is_forgotten() -> None:
    world = World()
    world.sts.known["contoso.com"] = StoreUnavailable("the disk is gone")
    results = await asyncio.gather(world.plan(), world.plan(), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    world.sts.known.clear()
    assert (await world.plan()).finding is None


async def test_an_error_nobody_waits_for_any_more_is_no_news() -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    world = World()
    world.dns.gate = asyncio.Event()
    world.sts.known["contoso.com"] = StoreUnavailable("the disk is gone")
    task = asyncio.create_task(world.plan())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await turns()
    assert (said, len(world.plans._under_way)) == ([], 0)


async def test_the_oldest_plan_gives_way() -> None:
    world = World(max_plans=2)
    for name in ("a.example", "b.example", "c.example"):
        await world.plan(domain=name)
    assert world.plans.kept(CONNECTOR, "a.example", PLAIN) is None
    assert world.plans.kept(CONNECTOR, "c.example", PLAIN) is not None
