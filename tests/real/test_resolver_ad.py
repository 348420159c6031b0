"""AdBitResolver in front of a real Unbound daemon that validates the same world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from sealroute.base.dnsdata import Outcome, Security
from sealroute.net.resolver_ad import AdBitConfig, AdBitResolver
from simnet.nameserver import Fault, FaultyNameServer, NsdServer, free_port
from simnet.recursive import UnboundServer
from tests.real.resolver_world import BROKEN, CLEAN, LAME, Case, look_up, make_world, shape

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def daemon() -> Iterator[UnboundServer]:
    with NsdServer(make_world()) as nsd, UnboundServer(nsd.world) as server:
        yield server


@pytest.fixture
async def resolver(daemon: UnboundServer) -> AsyncIterator[AdBitResolver]:
    resolver = AdBitResolver(AdBitConfig(servers=(f"{daemon.address}@{daemon.port}",), timeout_seconds=10))
    yield resolver
    await resolver.close()


@pytest.mark.parametrize("case", CLEAN, ids=lambda case: case.id)
async def test_it_says_the_same_as_validation_here(resolver: AdBitResolver, case: Case) -> None:
    answer = await look_up(resolver, case.rtype, case.name)
    assert shape(answer) == case
    assert answer.detail == ""
    assert 0 < answer.ttl_seconds <= 300


@pytest.mark.parametrize(("rtype", "name", "reason"), BROKEN)
async def test_a_zone_that_does_not_validate_is_bogus(resolver: AdBitResolver, rtype: str, name: str, reason: str) -> None:
    answer = await look_up(resolver, rtype, name)
    assert (answer.outcome, answer.security) == (Outcome.FAILED, Security.BOGUS)
    assert answer.detail.startswith("the resolver says "), reason


async def test_servfail_without_a_reason_is_unknown(daemon: UnboundServer, resolver: AdBitResolver) -> None:
    async with FaultyNameServer(Fault.SERVFAIL, LAME, daemon.world.port):
        answer = await resolver.tlsa("_25._tcp.lame.signed.test")
    assert (answer.outcome, answer.security) == (Outcome.FAILED, Security.UNKNOWN)
    assert answer.detail == "no resolver gave a usable answer (SERVFAIL)"


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.GARBAGE, Fault.TRUNCATED, Fault.SILENT, Fault.SHORT_TLSA])
async def test_a_resolver_that_misbehaves_makes_everything_unknown(fault: Fault) -> None:
    port = free_port(LAME)
    async with FaultyNameServer(fault, LAME, port):
        resolver = AdBitResolver(AdBitConfig(servers=(f"{LAME}@{port}",), timeout_seconds=0.7))
        answer = await resolver.tlsa("_25._tcp.mx.signed.test")
    assert (answer.outcome, answer.security) == (Outcome.FAILED, Security.UNKNOWN)
    assert answer.detail


async def test_a_large_answer_comes_over_tcp(resolver: AdBitResolver) -> None:
    answer = await resolver.tlsa("_25._tcp.many.signed.test")
    assert (answer.security, len(answer.records)) == (Security.SECURE, 60)


async def test_answers_are_kept_for_their_ttl(daemon: UnboundServer) -> None:
    names = ["_25._tcp.mx.signed.test", "_25._tcp.mx2.signed.test", "mx.signed.test"]
    with UnboundServer(daemon.world) as server:
        resolver = AdBitResolver(AdBitConfig(servers=(f"{server.address}@{server.port}",), timeout_seconds=5))
        first = [await resolver.tlsa(name) for name in names]
    again = [await resolver.tlsa(name) for name in names]
    assert [answer.outcome for answer in first] == [Outcome.DATA, Outcome.NXDOMAIN, Outcome.NODATA]
    assert [shape(answer) for answer in again] == [shape(answer) for answer in first], "though the server is gone"
    assert all(0 < later.ttl_seconds <= before.ttl_seconds for later, before in zip(again, first, strict=True))


async def test_without_trust_the_ad_bit_counts_for_nothing(daemon: UnboundServer) -> None:
    resolver = AdBitResolver(AdBitConfig(servers=(f"{daemon.address}@{daemon.port}",)))
    resolver.trusted = False
    answer = await resolver.tlsa("_25._tcp.mx.signed.test")
    assert (answer.outcome, answer.security) == (Outcome.DATA, Security.INSECURE)
    alias = await resolver.a("to-plain.signed.test")
    assert [step.security for step in alias.aliases] == [Security.INSECURE]
