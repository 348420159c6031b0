"""The mistakes that other mail products made with DANE and MTA-STS [Exchange Online], each a test of its own name.

Most are a scenario with what was asked of DNS looked at as well; two need a real resolver daemon and a real store.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealroute.net.resolver_ad import AdBitConfig, AdBitResolver
from sealroute.store.store import open_store
from simnet.mailhost import PROFILES
from simnet.nameserver import Fault
from simnet.policyhost import Behaviour
from simnet.recursive import UnboundServer
from simnet.signing import Signing
from tests.real.scenario import (
    DANE_OK,
    NO_ANSWER,
    NO_RECORD,
    NO_STARTTLS,
    PLAIN,
    REQUIRED,
    STS_OK,
    TLS_OK,
    TLSA_UNKNOWN,
    WRONG_KEY,
    D,
    Host,
    Policy,
    S,
    Scenario,
    report,
)
from tests.real.scenario_certs import private, web
from tests.real.scenario_lab import Lab, Ran, world_of

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

OPPORTUNISTIC, MANDATORY = (D.OPPORTUNISTIC, S.OPPORTUNISTIC), (D.MANDATORY, S.OPPORTUNISTIC)
WRONG = ("3 1 1 wrong",)
UNUSABLE = f"{REQUIRED}no TLSA record of mx.contoso.test is usable for SMTP{report('dane-required')}"


def lame(name: str, fault: Fault, line: str = TLSA_UNKNOWN, *, slow: bool = False) -> Scenario:
    """The TLSA records are with a name server that fails."""
    return Scenario(name=name, rows="dane-tlsa-unknown", hosts=(Host(tlsa=()),), faults={"_tcp.mx.contoso.test": fault},
                    both=line, slow=slow)  # fmt: skip


SERVFAIL = lame("servfail", Fault.SERVFAIL)
SILENT = lame("silent", Fault.SILENT, TLSA_UNKNOWN.replace(NO_ANSWER, "no answer within 3 s"), slow=True)
UNSIGNED_MX = Scenario(
    name="unsigned-mx", rows="dane-insecure", zone=Signing.UNSIGNED, mx=("10 mx.fabrikam.test.",),
    zones={"fabrikam.test": Signing.NSEC}, hosts=(Host("mx.fabrikam.test", WRONG),),
    opportunistic="delivered tls via mx.fabrikam.test",
)  # fmt: skip
UNSIGNED_ADDRESS = Scenario(
    name="unsigned-address", rows="dane-insecure", mx=("10 mx.fabrikam.test.",), zones={"fabrikam.test": Signing.UNSIGNED},
    hosts=(Host("mx.fabrikam.test", WRONG),), opportunistic="delivered tls via mx.fabrikam.test",
)  # fmt: skip
AAAA_BROKEN = Scenario(
    name="aaaa-broken", rows="dane-address-partial dane-usable", spoil=("mx.contoso.test NSEC",), both=DANE_OK
)
ALIAS = Scenario(
    name="alias", rows="dane-usable", zones={"fabrikam.test": Signing.NSEC}, hosts=(Host("mx.fabrikam.test", WRONG),),
    records=("mx.contoso.test CNAME mx.fabrikam.test.",), both=WRONG_KEY,
)  # fmt: skip
IMPLICIT = Scenario(
    name="implicit", rows="mx-implicit dane-usable", mx=(), hosts=(Host("contoso.test", WRONG),), both=WRONG_KEY
)
PKIX_USAGES = Scenario(
    name="pkix-usages", rows="dane-unusable", hosts=(Host(tlsa=("0 0 1 root", "1 1 1"), cert=web()),), opportunistic=TLS_OK,
    mandatory=UNUSABLE,
)  # fmt: skip
PRIVATE_ROOT = Scenario(
    name="private-root",
    rows="dane-usable",
    hosts=(Host(tlsa=("2 0 1 root",), cert=private(sent="leaf ca root")),),
    both=DANE_OK,
)
LARGE = Scenario(
    name="large", rows="dane-usable", both=DANE_OK,
    hosts=(Host(tlsa=(*(f"3 1 2 ={number:02x}{'cd' * 63}" for number in range(59)), "3 1 2")),),
)  # fmt: skip
ALL_UNUSABLE = Scenario(
    name="all-unusable", rows="dane-unusable", hosts=(Host(tlsa=("3 1 9", "3 2 1", "3 1 1 =abcd"), servers=(PLAIN,)),),
    opportunistic=f"{NO_STARTTLS}STARTTLS is not offered{report('starttls-not-supported')}", mandatory=UNUSABLE,
)  # fmt: skip
RESTARTED = Scenario(
    name="restarted", rows="sts-enforce", zone=Signing.UNSIGNED, policy=Policy(), hosts=(Host(tlsa=(), cert=web()),),
    opportunistic=STS_OK,
)  # fmt: skip
INJECTED = Scenario(name="injected", rows="dane-absent", hosts=(Host(tlsa=(), servers=(PROFILES["inject"],)),),
                    opportunistic="held 450 4.5.0 The destination mail server broke the SMTP protocol: the server sent '250 2.0.0 "
                    "injected' in plaintext after its reply to STARTTLS, which answers no command", mandatory=NO_RECORD)  # fmt: skip

SCENARIOS = (
    SERVFAIL, SILENT, UNSIGNED_MX, UNSIGNED_ADDRESS, AAAA_BROKEN, ALIAS, IMPLICIT, PKIX_USAGES, PRIVATE_ROOT, LARGE, ALL_UNUSABLE,
    RESTARTED, INJECTED,
)  # fmt: skip
lab = world_of(SCENARIOS)


def tlsa_asked(ran: Ran) -> list[str]:
    return [name for rtype, name in ran.asked if rtype == "TLSA"]


@pytest.mark.parametrize("scenario", [SERVFAIL, SILENT], ids=str)
async def test_servfail_or_timeout_is_not_absence_of_tlsa(lab: Lab, scenario: Scenario) -> None:
    assert await lab.lines(scenario) == scenario.lines


@pytest.mark.parametrize("scenario", [UNSIGNED_MX, UNSIGNED_ADDRESS], ids=str)
async def test_tlsa_is_not_asked_where_mx_or_addresses_are_insecure(lab: Lab, scenario: Scenario) -> None:
    ran = await lab.run(scenario, OPPORTUNISTIC)
    assert (ran.line, tlsa_asked(ran)) == (scenario.opportunistic, [])


async def test_a_broken_aaaa_denial_does_not_spoil_good_a_records(lab: Lab) -> None:
    assert await lab.lines(AAAA_BROKEN) == AAAA_BROKEN.lines


async def test_an_mx_host_that_is_an_alias_is_not_without_dane(lab: Lab) -> None:
    assert await lab.lines(ALIAS) == ALIAS.lines
    asked = tlsa_asked(await lab.run(ALIAS, OPPORTUNISTIC))
    assert asked == ["_25._tcp.mx.fabrikam.test"], "the expanded name comes first, and decides"


async def test_an_implicit_mx_is_not_without_dane(lab: Lab) -> None:
    assert await lab.lines(IMPLICIT) == IMPLICIT.lines


async def test_usages_0_and_1_are_not_usable(lab: Lab) -> None:
    assert await lab.lines(PKIX_USAGES) == PKIX_USAGES.lines


async def test_a_trust_anchor_need_not_lead_to_a_public_root(lab: Lab) -> None:
    assert await lab.lines(PRIVATE_ROOT) == PRIVATE_ROOT.lines


async def test_a_large_answer_truncated_over_udp_is_not_bogus(lab: Lab) -> None:
    assert await lab.lines(LARGE) == LARGE.lines


async def test_the_ad_bit_of_a_resolver_elsewhere_is_not_believed(lab: Lab) -> None:
    """The same daemon, the same answer: secure from loopback, and for every other address as if it were unsigned."""
    name = lab.names[LARGE.name].real("_25._tcp.mx.contoso.test")
    with UnboundServer(lab.world) as daemon:
        near = AdBitResolver(AdBitConfig((f"{daemon.address}@{daemon.port}",), timeout_seconds=5))
        assert near.trusted
        assert (await near.tlsa(name)).secure
        near.trusted = AdBitResolver(AdBitConfig(("192.0.2.53",))).trusted
        assert not near.trusted
        assert not (await near.tlsa(name)).secure
    assert AdBitResolver(AdBitConfig(("192.0.2.53",), trusted=True)).trusted, "unless the operator says so"


async def test_a_set_without_usable_records_is_not_an_absent_one(lab: Lab) -> None:
    assert await lab.lines(ALL_UNUSABLE) == ALL_UNUSABLE.lines


async def test_the_policy_cache_survives_a_restart(lab: Lab, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    site = lab.policies.site(lab.names[RESTARTED.name].real("contoso.test"))
    store = open_store(url)
    assert (await lab.run(RESTARTED, OPPORTUNISTIC, store.policies)).line == STS_OK
    await store.close()
    site.behaviour, before = Behaviour.SERVER_ERROR, site.hits
    store = open_store(url)
    assert (await lab.run(RESTARTED, OPPORTUNISTIC, store.policies)).line == STS_OK
    await store.close()
    assert site.hits == before, "the policy of a known id is not fetched again"
    forgetful = await lab.run(RESTARTED, OPPORTUNISTIC)
    assert forgetful.line == TLS_OK + report("sts-policy-fetch-error"), "without the cache it would have been lost"


async def test_octets_before_the_handshake_are_not_read_as_after_it(lab: Lab) -> None:
    assert await lab.lines(INJECTED) == INJECTED.lines
