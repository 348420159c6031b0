"""UnboundResolver against zones signed here and served by NSD, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security
from sealroute.base.errors import OperatorError
from sealroute.net.anchors import iana_trust_anchors
from sealroute.net.resolver_unbound import UnboundResolver
from sealroute.net.unbound_config import UnboundConfig
from simnet.nameserver import Fault, FaultyNameServer, NsdServer
from simnet.recursive import UnboundServer
from simnet.signing import ZoneKey
from simnet.zones import World
from tests.busy import busy_loop
from tests.real.resolver_world import BROKEN, CLEAN, LAME, Case, look_up, make_world, shape

pytestmark = pytest.mark.real

LAME_TLSA = "_25._tcp.lame.signed.test"


@pytest.fixture(scope="module")
def nsd() -> Iterator[NsdServer]:
    with NsdServer(make_world()) as server:
        yield server


@pytest.fixture
def world(nsd: NsdServer) -> World:
    return nsd.world


@pytest.fixture
def config(world: World) -> UnboundConfig:
    return UnboundConfig(trust_anchors=world.trust_anchors(), stub_zones=world.stub_zones(), timeout_seconds=20)


@pytest.fixture
async def resolver(config: UnboundConfig) -> AsyncIterator[UnboundResolver]:
    resolver = UnboundResolver(config)
    yield resolver
    await resolver.close()


@pytest.mark.parametrize("case", CLEAN, ids=lambda case: case.id)
async def test_what_dns_says_with_its_proof(resolver: UnboundResolver, case: Case) -> None:
    answer = await look_up(resolver, case.rtype, case.name)
    assert shape(answer) == case
    assert answer.detail == ""
    assert 0 < answer.ttl_seconds <= 300


@pytest.mark.parametrize(("rtype", "name", "reason"), BROKEN)
async def test_bogus_comes_with_the_validators_reason(resolver: UnboundResolver, rtype: str, name: str, reason: str) -> None:
    answer = await look_up(resolver, rtype, name)
    assert (answer.outcome, answer.security, answer.records) == (Outcome.FAILED, Security.BOGUS, ())
    assert reason in answer.detail
    again = await look_up(resolver, rtype, name)
    assert again.security is Security.BOGUS, "from the cache it must be no better"
    assert again.detail


async def test_one_broken_denial_leaves_the_other_family_alone(resolver: UnboundResolver) -> None:
    a, aaaa = await resolver.a("mx.half.test"), await resolver.aaaa("mx.half.test")
    assert (a.security, aaaa.security) == (Security.SECURE, Security.BOGUS)


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.GARBAGE, Fault.TRUNCATED])
async def test_a_lame_tlsa_server_makes_tlsa_unknown(config: UnboundConfig, world: World, fault: Fault) -> None:
    resolver = UnboundResolver(config)
    async with FaultyNameServer(fault, LAME, world.port) as server:
        answer = await resolver.tlsa(LAME_TLSA)
    await resolver.close()
    assert server.queries > 0
    assert answer == _unknown(LAME_TLSA, "SERVFAIL: no name server gave a usable answer")


async def test_a_lame_server_below_a_ds_is_no_better(config: UnboundConfig, world: World) -> None:
    resolver = UnboundResolver(config)
    async with FaultyNameServer(Fault.SHORT_TLSA, LAME, world.port):
        answer = await resolver.tlsa("_25._tcp.claimed.signed.test")
    await resolver.close()
    assert answer.security is Security.BOGUS
    assert "DNSKEY" in answer.detail


async def test_a_silent_server_ends_with_our_own_time_limit(config: UnboundConfig, world: World) -> None:
    resolver = UnboundResolver(replace(config, timeout_seconds=0.5))
    async with FaultyNameServer(Fault.SILENT, LAME, world.port) as server:
        answers = await asyncio.gather(resolver.tlsa(LAME_TLSA), resolver.mx("signed.test"), resolver.tlsa("x." + LAME_TLSA))
    assert server.queries > 0
    assert answers[0] == _unknown(LAME_TLSA, "no answer within 0.5 s")
    assert answers[1].secure, "the others are not held up"
    assert answers[2].detail == "no answer within 0.5 s"
    assert (await resolver.a("mx.signed.test")).secure, "and look-ups go on"
    await resolver.close()


async def test_a_look_up_does_not_fail_because_our_own_loop_is_late(config: UnboundConfig, world: World) -> None:
    """The name server answers at once, as far as the loop lets it: it runs there, too."""
    resolver = UnboundResolver(replace(config, timeout_seconds=0.3))
    async with FaultyNameServer(Fault.SHORT_TLSA, LAME, world.port):
        with busy_loop(0.2):
            answer = await resolver.tlsa(LAME_TLSA)
    await resolver.close()
    assert answer.detail == "the answer cannot be read: a TLSA record has only 2 octets"


async def test_a_record_cut_short_is_unknown_and_not_absent(config: UnboundConfig, world: World) -> None:
    resolver = UnboundResolver(config)
    async with FaultyNameServer(Fault.SHORT_TLSA, LAME, world.port):
        answer = await resolver.tlsa(LAME_TLSA)
    await resolver.close()
    assert answer == _unknown(LAME_TLSA, "the answer cannot be read: a TLSA record has only 2 octets")


async def test_a_large_answer_comes_over_tcp(resolver: UnboundResolver) -> None:
    answer = await resolver.tlsa("_25._tcp.many.signed.test")
    assert (answer.security, len(answer.records)) == (Security.SECURE, 60)
    assert {len(record.data) for record in answer.records} == {64}


@pytest.mark.parametrize("name", ["loop1.signed.test", "long0.signed.test"])
async def test_alias_loops_and_endless_chains_are_unknown(resolver: UnboundResolver, name: str) -> None:
    answer = await resolver.a(name)
    assert (answer.outcome, answer.security) == (Outcome.FAILED, Security.UNKNOWN)


@pytest.mark.parametrize("name", ["", "a..test", "x" * 64 + ".test", ".".join(["abcdefghi"] * 30), "a b.test", "ä.test"])
async def test_what_is_no_name_is_unknown(resolver: UnboundResolver, name: str) -> None:
    answer = await resolver.mx(name)
    assert (answer.security, answer.aliases) == (Security.UNKNOWN, ())
    assert "is not a name that can be looked up" in answer.detail


async def test_names_are_asked_and_given_in_compared_form(resolver: UnboundResolver) -> None:
    assert (await resolver.mx("Signed.TEST.")).name == "signed.test"


async def test_with_the_wrong_trust_anchor_everything_is_bogus(config: UnboundConfig, world: World) -> None:
    origin = next(iter(world.zones))
    stranger = f". IN DS {ZoneKey.generate().ds(origin)}"
    for anchors in ((stranger,), iana_trust_anchors()):
        resolver = UnboundResolver(replace(config, trust_anchors=anchors))
        answers = [await resolver.mx("signed.test"), await resolver.mx("plain.test"), await resolver.mx("nothing-here.test")]
        await resolver.close()
        assert [answer.security for answer in answers] == [Security.BOGUS] * 3
        assert "trust anchor" in answers[0].detail


async def test_a_dnskey_serves_as_trust_anchor_too(config: UnboundConfig, world: World) -> None:
    resolver = UnboundResolver(replace(config, trust_anchors=world.trust_anchor_keys()))
    answer = await resolver.mx("signed.test")
    await resolver.close()
    assert answer.secure


async def test_forwarding_validates_here(world: World) -> None:
    with UnboundServer(world) as server:
        base = UnboundConfig(
            trust_anchors=world.trust_anchors(), forwarders=(f"{server.address}@{server.port}",), special_names=True
        )
        resolver = UnboundResolver(base)
        shapes = [shape(await look_up(resolver, case.rtype, case.name)) for case in CLEAN[:10]]
        bogus = await resolver.tlsa("broken.signed.test")
        await resolver.close()
    assert shapes == list(CLEAN[:10])
    assert bogus.security is Security.BOGUS


async def test_special_names_are_answered_by_the_library_unless_told(world: World) -> None:
    config = UnboundConfig(trust_anchors=world.trust_anchors(), stub_zones=world.stub_zones()[:1])
    resolver = UnboundResolver(config)
    answer = await resolver.mx("signed.test")
    await resolver.close()
    assert (answer.outcome, answer.security) == (Outcome.NXDOMAIN, Security.INSECURE)


async def test_equal_questions_under_way_are_one_look_up(config: UnboundConfig, world: World) -> None:
    resolver = UnboundResolver(replace(config, timeout_seconds=1))
    async with FaultyNameServer(Fault.SILENT, LAME, world.port):
        tasks = [asyncio.ensure_future(resolver.tlsa(LAME_TLSA)) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert repr(resolver) == "<UnboundResolver, 1 look-ups under way>"
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    await resolver.close()
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.detail for answer in answers[1:] if isinstance(answer, Answer)} == {"no answer within 1 s"}


async def test_closing_ends_look_ups_and_the_thread(config: UnboundConfig, world: World) -> None:
    resolver = UnboundResolver(config)
    async with FaultyNameServer(Fault.SILENT, LAME, world.port):
        waiting = asyncio.ensure_future(resolver.tlsa(LAME_TLSA))
        await asyncio.sleep(0.05)
        await resolver.close()
        assert await waiting == _unknown(LAME_TLSA, "the resolver was closed")
    await resolver.close()
    assert (await resolver.mx("signed.test")).detail == "the resolver was closed"
    assert repr(resolver) == "<UnboundResolver, closed>"


async def test_many_at_once_without_a_thread_each(resolver: UnboundResolver) -> None:
    before = threading.active_count()
    answers = await asyncio.gather(*(resolver.a(f"n{number}.signed.test") for number in range(500)))
    assert {(answer.outcome, answer.security) for answer in answers} == {(Outcome.NXDOMAIN, Security.SECURE)}
    assert threading.active_count() == before


def test_it_runs_on_uvloop(config: UnboundConfig) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def ask() -> Answer[Mx]:
        resolver = UnboundResolver(config)
        try:
            return await resolver.mx("signed.test")
        finally:
            await resolver.close()

    assert uvloop.run(ask()).secure


async def test_a_mended_zone_is_seen_by_a_new_resolver() -> None:
    world = make_world()
    with NsdServer(world) as server:
        config = UnboundConfig(trust_anchors=world.trust_anchors(), stub_zones=world.stub_zones())
        before = UnboundResolver(config)
        assert (await before.tlsa("broken.signed.test")).security is Security.BOGUS
        await before.close()
        world.mend("broken.signed.test", "TLSA")
        world.remove("_25._tcp.mx.signed.test", "TLSA")
        server.reload()
        after = UnboundResolver(config)
        assert (await after.tlsa("broken.signed.test")).secure
        assert (await after.tlsa("_25._tcp.mx.signed.test")).outcome is Outcome.NXDOMAIN
        await after.close()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"trust_anchors": ()}, "no trust anchor is given"),
        ({"trust_anchors": (". IN A 192.0.2.1",)}, "a A record cannot be a trust anchor"),
        ({"trust_anchors": ("hello world",)}, "these are not DNS records"),
        ({"forwarders": ("resolver.example.com",)}, "'resolver.example.com' cannot be used"),
        ({"forwarders": ("192.0.2.1@0",)}, "'0' is not a port number"),
        ({"stub_zones": (("corp.example", "nowhere"),)}, "'nowhere' cannot be used"),
        ({"stub_zones": (("corp..example", "192.0.2.1"),)}, "libunbound refuses the stub zone corp..example"),
        ({"root_hints": "/nonexistent/root.hints"}, "the root hints file cannot be read"),
    ],
)
def test_a_mistake_in_the_configuration_is_said_at_once(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(OperatorError, match=sentence):
        UnboundResolver(replace(UnboundConfig(), **change))  # type: ignore[arg-type]


def _unknown(name: str, detail: str) -> Answer[object]:
    return Answer(name, "TLSA", Outcome.FAILED, Security.UNKNOWN, detail=detail)
