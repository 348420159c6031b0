"""What is asked about the way to a domain, what is not, and how long the answers may be used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sealroute.base.dnsdata import AliasStep, Answer, Mx, Outcome, Security
from sealroute.base.errors import StoreUnavailable
from sealroute.policy.connector import Connector
from sealroute.policy.decide import decide
from sealroute.policy.evidence import Evidence, FetchFailure, HopKind, StsEvidence
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, Wishes
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus
from sealroute.services import gather as module
from sealroute.services.gather import Gather
from tests.unit.fakes import GOOD_TLSA, FakeClock, FakeResolver, FakeStsPolicies

CONNECTOR = Connector(guid="g", name="Contoso")
INSECURE, BOGUS = Security.INSECURE, Security.BOGUS


class World:
    """contoso.com with one signed MX host that has a TLSA record."""

    def __init__(self) -> None:
        self.dns, self.sts = FakeResolver(), FakeStsPolicies()
        self.dns.has("MX", "contoso.com", Mx(10, "mx.contoso.com"))
        self.dns.host("mx.contoso.com", "192.0.2.1", tlsa=[GOOD_TLSA])
        self.trust = [True]

    async def gather(self, connector: Connector = CONNECTOR, domain: str = "contoso.com", **changes: Any) -> Evidence:
        trust = list(self.trust)
        ask = Gather(self.dns, self.sts, FakeClock(), trusted=lambda: trust.pop(0) if len(trust) > 1 else trust[0])
        recheck = changes.pop("recheck", False)
        return await ask.evidence(connector, domain, Wishes(**changes), recheck=recheck)

    @property
    def asked(self) -> list[str]:
        return sorted(self.dns.asked) + [f"sts {domain}" for domain, _ in self.sts.asked]


def smart(*hosts: str) -> Connector:
    return replace(CONNECTOR, use_mx_record=False, smart_hosts=hosts)


ADDRESSES = ["A mx.contoso.com", "AAAA mx.contoso.com", "MX contoso.com"]
EVERYTHING = [*ADDRESSES, "TLSA _25._tcp.mx.contoso.com", "sts contoso.com"]


async def test_everything_is_asked_and_kept_as_long_as_the_shortest_ttl() -> None:
    world = World()
    world.dns.has("TLSA", "_25._tcp.mx.contoso.com", GOOD_TLSA, ttl=42)
    evidence = await world.gather()
    assert world.asked == EVERYTHING
    assert (evidence.ttl_seconds, evidence.resolver_trusted) == (42, True)
    assert decide(CONNECTOR, evidence).hosts[0].addresses == ("192.0.2.1",)


NONE = replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.NONE, mta_sts_mode=MtaStsMode.NONE)


@pytest.mark.parametrize(
    ("connector", "wishes", "asked"),
    [
        (NONE, {}, ADDRESSES),
        (NONE, {"require_tls": True}, EVERYTHING),
        (replace(NONE, smtp_dane_mode=SmtpDaneMode.REPORT_ONLY), {}, EVERYTHING[:-1]),
        (replace(NONE, mta_sts_mode=MtaStsMode.REPORT_ONLY), {}, [*ADDRESSES, "sts contoso.com"]),
        (CONNECTOR, {"tls_required_no": True}, EVERYTHING),
    ],
)
async def test_a_mode_of_none_asks_nothing(connector: Connector, wishes: dict[str, bool], asked: list[str]) -> None:
    world = World()
    await world.gather(connector, "contoso.com", **wishes)
    assert world.asked == asked


async def test_no_tlsa_is_asked_where_dane_cannot_apply() -> None:
    world = World()
    world.dns.has("MX", "contoso.com", Mx(10, "mx.contoso.com"), security=INSECURE)
    evidence = await world.gather()
    assert world.asked == [*ADDRESSES, "sts contoso.com"]
    assert evidence.hops[0].hosts[0].tlsa == ()
    world = World()
    world.dns.host("mx.contoso.com", "192.0.2.1", security=INSECURE)
    await world.gather()
    assert world.asked == [*ADDRESSES, "sts contoso.com"]


async def test_an_alias_expanded_name_first_then_the_original() -> None:
    world = World()
    step = (AliasStep("mx.contoso.com", "mail.fabrikam.com", Security.SECURE),)
    for rtype in ("A", "AAAA"):
        world.dns.answers[rtype, "mx.contoso.com"] = replace(world.dns.answers[rtype, "mx.contoso.com"], aliases=step)
    evidence = await world.gather()
    assert [lookup.base for lookup in evidence.hops[0].hosts[0].tlsa] == ["mail.fabrikam.com", "mx.contoso.com"]
    world.dns.has("TLSA", "_25._tcp.mail.fabrikam.com", GOOD_TLSA)
    evidence = await world.gather()
    assert [lookup.base for lookup in evidence.hops[0].hosts[0].tlsa] == ["mail.fabrikam.com"]
    world.dns.fails("TLSA", "_25._tcp.mail.fabrikam.com", BOGUS)
    evidence = await world.gather()
    assert [lookup.base for lookup in evidence.hops[0].hosts[0].tlsa] == ["mail.fabrikam.com"]  # unknown: not asked further


HOPS: dict[str, tuple[str, list[str], HopKind, list[str]]] = {
    # what MX says: (outcome, look-ups, kind, hosts)
    "null MX": ("null", ["MX contoso.com"], HopKind.MX, []),
    "null MX beside another": ("null and one", ADDRESSES, HopKind.MX, ["mx.contoso.com"]),
    "no such domain": ("nxdomain", ["MX contoso.com"], HopKind.MX, []),
    "unknown": ("fails", ["MX contoso.com"], HopKind.MX, []),
    "no MX": ("nodata", ["A contoso.com", "AAAA contoso.com", "MX contoso.com"], HopKind.IMPLICIT_MX, ["contoso.com"]),
}


@pytest.mark.parametrize("name", HOPS)
async def test_next_hops(name: str) -> None:
    says, asked, kind, hosts = HOPS[name]
    world = World()
    match says:
        case "null":
            world.dns.has("MX", "contoso.com", Mx(0, ""))
        case "null and one":
            world.dns.has("MX", "contoso.com", Mx(0, ""), Mx(10, "mx.contoso.com"))
        case "nxdomain":
            world.dns.none("MX", "contoso.com", nxdomain=True)
        case "fails":
            world.dns.fails("MX", "contoso.com")
        case _:
            world.dns.none("MX", "contoso.com")
    (hop,) = (await world.gather(NONE)).hops
    assert (world.asked, hop.kind, [host.name for host in hop.hosts]) == (asked, kind, hosts)


SMART: dict[str, tuple[str, list[str], list[tuple[str, tuple[str, ...]]]]] = {
    # smart host: (as written, look-ups, hosts with their literal addresses)
    "a name with MX records": (
        "contoso.com", ["A mx.contoso.com", "AAAA mx.contoso.com", "MX contoso.com", "TLSA _25._tcp.mx.contoso.com",
                        "sts contoso.com"], [("mx.contoso.com", ())],
    ),
    "a name without": (
        "mx.contoso.com", ["A mx.contoso.com", "AAAA mx.contoso.com", "MX mx.contoso.com", "TLSA _25._tcp.mx.contoso.com",
                           "sts mx.contoso.com"], [("mx.contoso.com", ())],
    ),
    "a name in brackets": (
        "[mx.contoso.com]", ["A mx.contoso.com", "AAAA mx.contoso.com", "TLSA _25._tcp.mx.contoso.com", "sts mx.contoso.com"],
        [("mx.contoso.com", ())],
    ),
    "an address": ("192.0.2.9", [], [("192.0.2.9", ("192.0.2.9",))]),
    "an address in brackets": ("[192.0.2.9]", [], [("192.0.2.9", ("192.0.2.9",))]),
    "an IPv6 address": ("2001:db8::9", [], [("2001:db8::9", ("2001:db8::9",))]),
    "a block": ("192.0.2.8/30", [], [("192.0.2.8/30", ("192.0.2.9", "192.0.2.10"))]),
    "a block of one": ("192.0.2.8/32", [], [("192.0.2.8/32", ("192.0.2.8",))]),
}  # fmt: skip


@pytest.mark.parametrize("name", SMART)
async def test_smart_hosts(name: str) -> None:
    written, asked, hosts = SMART[name]
    world = World()
    evidence = await world.gather(smart(written))
    (hop,) = evidence.hops
    assert (world.asked, hop.kind) == (asked, HopKind.SMART_HOST)
    assert [(host.name, host.literal_addresses) for host in hop.hosts] == hosts
    assert decide(smart(written), evidence).hosts[0].finding is None


async def test_smart_hosts_in_the_order_given_and_one_that_cannot_be_told() -> None:
    world = World()
    world.dns.fails("MX", "smart.fabrikam.com", BOGUS, "no signature")
    evidence = await world.gather(smart("192.0.2.9", "smart.fabrikam.com", "contoso.com"))
    assert [hop.name for hop in evidence.hops] == ["192.0.2.9", "smart.fabrikam.com", "contoso.com"]
    assert [len(hop.hosts) for hop in evidence.hops] == [1, 0, 1]
    assert evidence.ttl_seconds == 0


@pytest.mark.parametrize(
    ("domain", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[ipv6:2001:db8::1]", "2001:db8::1"), ("[IPv6:::1]", "::1")]
)
async def test_a_recipients_address_literal(domain: str, address: str) -> None:
    world = World()
    evidence = await world.gather(domain=domain)
    assert world.asked == []
    (host,) = decide(CONNECTOR, evidence).hosts
    assert (host.name, host.addresses) == (address, (address,))
    (held,) = decide(replace(CONNECTOR, smtp_dane_mode=SmtpDaneMode.MANDATORY), evidence).hosts
    assert held.finding is not None
    assert held.finding.queued().startswith("450 4.7.326 dane-required")


async def test_bounds() -> None:
    world = World()
    world.dns.has("MX", "contoso.com", *(Mx(100 - number, f"mx{number}.contoso.com") for number in range(100)))
    for number in range(100):
        world.dns.has("A", f"mx{number}.contoso.com", *(f"192.0.2.{n}" for n in range(50)))
    (hop,) = (await world.gather(NONE)).hops
    assert [host.preference for host in hop.hosts] == list(range(1, 1 + module.MAX_HOSTS))
    assert {len(host.a.records) for host in hop.hosts if host.a} == {module.MAX_ADDRESSES}
    (hop,) = (await world.gather(smart("10.0.0.0/8"))).hops
    assert len(hop.hosts[0].literal_addresses) == module.MAX_CIDR_ADDRESSES
    assert module._literal_addresses("10.0.0.0/99") == ()


TXT: Answer[str] = Answer("_mta-sts.contoso.com", "TXT", Outcome.DATA, INSECURE, ("v=STSv1; id=1;",), 9)
STS = StsEvidence("contoso.com", TXT, StsTxt(TxtStatus.OK, "1"), None)


@pytest.mark.parametrize(
    ("sts", "ttl"),
    [
        (STS, 9),
        (replace(STS, txt=None), 300),
        (replace(STS, failure=FetchFailure.FETCH_ERROR), 0),
        (replace(STS, txt=Answer("x", "TXT", Outcome.FAILED, Security.UNKNOWN)), 0),
    ],
)
async def test_the_policys_part_in_the_ttl(sts: StsEvidence, ttl: int) -> None:
    world = World()
    world.sts.known["contoso.com"] = sts
    assert (await world.gather()).ttl_seconds == ttl


async def test_long_ttls_are_cut() -> None:
    world = World()
    for key, answer in world.dns.answers.items():
        world.dns.answers[key] = replace(answer, ttl_seconds=86_400)
    assert (await world.gather(NONE)).ttl_seconds == module.LONGEST_TTL_SECONDS


@pytest.mark.parametrize("trust", [[False], [True, False], [False, True]])
async def test_trust_counts_before_and_after(trust: list[bool]) -> None:
    world = World()
    world.trust = trust
    evidence = await world.gather()
    assert (evidence.resolver_trusted, evidence.ttl_seconds) == (False, 0)


async def test_a_recheck_is_passed_on() -> None:
    world = World()
    await world.gather(recheck=True)
    assert world.sts.asked == [("contoso.com", True)]


async def test_what_the_store_raises_comes_out() -> None:
    world = World()
    world.sts.known["contoso.com"] = StoreUnavailable("the disk is gone")
    with pytest.raises(StoreUnavailable):
        await world.gather()


async def test_the_resolver_is_believed_without_canaries() -> None:
    world = World()
    evidence = await Gather(world.dns, world.sts, FakeClock(), 2525).evidence(CONNECTOR, "contoso.com", Wishes())
    assert evidence.resolver_trusted
    assert "TLSA _2525._tcp.mx.contoso.com" in world.asked
