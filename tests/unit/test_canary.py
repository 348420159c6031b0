"""Whether the resolver can tell valid DNSSEC from invalid, and what is said when it cannot."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from sealroute.base.dnsdata import Security
from sealroute.services.canary import Canary, CanaryNames, CanaryReport
from tests.unit.fakes import NOW, FakeClock, FakeResolver

NAMES = CanaryNames("signed.test", "unsigned.test", "broken.test")


def a_canary(interval: timedelta = timedelta(minutes=5)) -> tuple[Canary, FakeResolver]:
    """A resolver that validates."""
    dns = FakeResolver()
    dns.has("A", "signed.test", "192.0.2.1")
    dns.has("A", "unsigned.test", "192.0.2.2", security=Security.INSECURE)
    dns.fails("A", "broken.test", Security.BOGUS, "signature crypto failed")
    return Canary(dns, NAMES, FakeClock(), interval), dns


async def test_a_resolver_that_validates() -> None:
    canary, dns = a_canary()
    assert not canary.trusted()
    report = await canary.probe()
    assert (report.at, report.can_validate, canary.trusted()) == (NOW, True, True)
    assert report.sentence == "the resolver tells valid DNSSEC from invalid"
    assert sorted(dns.asked) == ["A broken.test", "A signed.test", "A unsigned.test"]


@pytest.mark.parametrize("security", [Security.UNKNOWN, Security.BOGUS])
async def test_the_broken_name_may_fail_in_either_way(security: Security) -> None:
    canary, dns = a_canary()
    dns.fails("A", "broken.test", security)
    assert (await canary.probe()).can_validate


async def test_a_resolver_that_believes_everything() -> None:
    canary, dns = a_canary()
    dns.has("A", "broken.test", "192.0.2.3")
    dns.has("A", "unsigned.test", "192.0.2.2")
    assert (await canary.probe()).sentence == (
        "the resolver cannot validate: unsigned.test should be insecure and is secure; broken.test should be bogus and is secure"
    )
    assert not canary.trusted()


async def test_a_resolver_that_validates_nothing_or_reaches_nobody() -> None:
    canary, dns = a_canary()
    dns.has("A", "signed.test", "192.0.2.1", security=Security.INSECURE)
    assert (await canary.probe()).sentence == "the resolver cannot validate: signed.test should be secure and is insecure"
    dns.fails("A", "signed.test", detail="timed out")
    assert (await canary.probe()).sentence == (
        "the resolver cannot validate: signed.test should be secure and is unknown (timed out)"
    )


async def test_only_changes_are_told() -> None:
    canary, dns = a_canary(timedelta(milliseconds=5))
    told: list[bool] = []
    rounds = asyncio.Event()

    def changed(report: CanaryReport) -> None:
        told.append(report.can_validate)
        rounds.set()

    task = asyncio.create_task(canary.loop(changed))
    async with asyncio.timeout(5):
        await rounds.wait()
        while len(dns.asked) < 9:
            await asyncio.sleep(0.002)
        assert told == [True]
        rounds.clear()
        dns.has("A", "broken.test", "192.0.2.3")
        await rounds.wait()
    task.cancel()
    assert told == [True, False]
    assert not canary.trusted()
