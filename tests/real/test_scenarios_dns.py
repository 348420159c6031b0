"""Scenarios of DNS: next hops, MX sets, addresses, and what TLSA look-ups prove."""

from __future__ import annotations

import pytest

from simnet.nameserver import Fault
from simnet.signing import Signing
from tests.real.scenario import (
    DANE_OK,
    DNS_FAILED,
    DNSSEC,
    NO_ADDRESS,
    NO_ANSWER,
    NO_RECORD,
    PLAIN,
    REQUIRED,
    TLS_OK,
    TLSA_INVALID,
    WRONG_KEY,
    Host,
    Scenario,
    report,
)
from tests.real.scenario_lab import Lab, world_of

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

BOGUS = report("dnssec-invalid")
REQ = report("dane-required")
VALIDATION = report("validation-failure")
WRONG = ("3 1 1 wrong",)
BROKEN = "ECDSA signature verification failed"
NO_KEY = "No DNSKEY record for key {}. while building chain of trust"
BROKEN_DENIAL = BROKEN + " for <{}. NSEC IN>"
DOMAIN, MX, OWNER = "contoso.test", "mx.contoso.test", "_25._tcp.mx.contoso.test"
FIRST, SECOND = "mx1.contoso.test", "mx2.contoso.test"
UNEQUAL, EQUAL = (f"10 {FIRST}.", f"20 {SECOND}."), (f"10 {FIRST}.", f"10 {SECOND}.")


def bogus(rtype: str, name: str, why: str) -> str:
    """What the validator says of an answer that does not hold."""
    return f"{rtype} {name}: validation failure <{name}. {rtype} IN>: {why}"


HOPS = (
    Scenario(name="happy", rows="mx-found dane-usable sts-absent",
             both=DANE_OK, none=TLS_OK, report_only=DANE_OK),
    Scenario(name="null-mx", rows="mx-null", mx=("0 .",), hosts=(),
             both="returned 556 5.1.10 Recipient domain does not accept mail (null MX)"),
    Scenario(name="null-mx-beside-another", rows="mx-found dane-usable", mx=("0 .", "10 mx.contoso.test."),
             both=DANE_OK),
    Scenario(name="nxdomain", rows="mx-nxdomain", zone=None, hosts=(),
             both="returned 550 5.4.310 DNS domain does not exist", none="returned 550 5.4.310 DNS domain does not exist"),
    Scenario(name="implicit-mx-secure", rows="mx-implicit dane-usable", mx=(), hosts=(Host("contoso.test"),),
             both="delivered dane via contoso.test"),
    Scenario(name="implicit-mx-wrong-tlsa", rows="mx-implicit dane-usable", mx=(), hosts=(Host("contoso.test", WRONG),),
             both=WRONG_KEY, none="delivered tls via contoso.test"),
    Scenario(name="implicit-mx-insecure", rows="mx-implicit dane-insecure", mx=(), hosts=(Host("contoso.test", WRONG),),
             zone=Signing.UNSIGNED, opportunistic="delivered tls via contoso.test",
             mandatory=f"{REQUIRED}the MX record of contoso.test is not signed with DNSSEC{REQ}"),
    Scenario(name="implicit-mx-of-bogus-denial", rows="mx-bogus", mx=(), hosts=(Host("contoso.test"),),
             spoil=("contoso.test NSEC",), both=DNSSEC + bogus("MX", DOMAIN, BROKEN_DENIAL.format(DOMAIN)) + BOGUS,
             none=DNSSEC + bogus("MX", DOMAIN, BROKEN_DENIAL.format(DOMAIN))),
    Scenario(name="mx-bogus", rows="mx-bogus", spoil=("contoso.test MX",),
             both=DNSSEC + bogus("MX", DOMAIN, BROKEN) + BOGUS,
             none=DNSSEC + bogus("MX", DOMAIN, BROKEN), report_only=DNSSEC + bogus("MX", DOMAIN, BROKEN) + BOGUS),
    Scenario(name="mx-expired", rows="mx-bogus", spoil=("contoso.test MX expired",),
             opportunistic=DNSSEC + bogus("MX", DOMAIN, "signature expired") + BOGUS),
    Scenario(name="mx-not-yet-valid", rows="mx-bogus", spoil=("contoso.test MX future",),
             opportunistic=DNSSEC + bogus("MX", DOMAIN, "signature before inception date") + BOGUS),
    Scenario(name="mx-without-signature", rows="mx-bogus", spoil=("contoso.test MX missing",),
             opportunistic=DNSSEC + bogus("MX", DOMAIN, "no signatures") + BOGUS),
    Scenario(name="ds-without-key", rows="mx-bogus", zone=Signing.DS_WITHOUT_KEY,
             both=DNSSEC + bogus("MX", DOMAIN, NO_KEY.format(DOMAIN)) + BOGUS,
             none=DNSSEC + bogus("MX", DOMAIN, NO_KEY.format(DOMAIN))),
    Scenario(name="zone-key-expired", rows="mx-bogus", spoil=("contoso.test DNSKEY expired",),
             both=DNSSEC + "MX contoso.test: validation failure <contoso.test. MX IN>: signature expired for key "
             "contoso.test. while building chain of trust; TLS report: dnssec-invalid"),
    Scenario(name="ds-bogus", rows="mx-bogus", spoil=("contoso.test DS",),
             both=DNSSEC + "MX contoso.test: validation failure <contoso.test. MX IN>: ECDSA signature verification failed "
             "for DS contoso.test. while building chain of trust; TLS report: dnssec-invalid"),
    Scenario(name="unknown-algorithm", rows="mx-found dane-insecure", zone=Signing.UNKNOWN_ALGORITHM,
             opportunistic=TLS_OK, mandatory=f"{REQUIRED}the MX record of contoso.test is not signed with DNSSEC{REQ}"),
    Scenario(name="unsigned", rows="mx-found dane-insecure", zone=Signing.UNSIGNED, hosts=(Host(tlsa=WRONG),),
             opportunistic=TLS_OK, mandatory=f"{REQUIRED}the MX record of contoso.test is not signed with DNSSEC{REQ}"),
    Scenario(name="mx-servfail", rows="mx-unknown", zone=None, hosts=(), faults={"contoso.test": Fault.SERVFAIL},
             both=DNS_FAILED + f"MX contoso.test: {NO_ANSWER}", none=DNS_FAILED + f"MX contoso.test: {NO_ANSWER}"),
    Scenario(name="mx-silent", rows="mx-unknown", zone=None, hosts=(), faults={"contoso.test": Fault.SILENT}, slow=True,
             both=DNS_FAILED + "MX contoso.test: no answer within 3 s"),
    Scenario(name="mx-without-address", rows="mx-found host-no-address", hosts=(),
             opportunistic=f"{NO_ADDRESS}mx.contoso.test has neither A nor AAAA records",
             none=f"{NO_ADDRESS}mx.contoso.test has neither A nor AAAA records", mandatory=NO_RECORD),
    Scenario(name="one-mx-without-address", rows="host-no-address dane-usable", mx=UNEQUAL, hosts=(Host(SECOND),),
             opportunistic=f"delivered dane via {SECOND}, after {FIRST} 4.4.312 no-address",
             mandatory=f"delivered dane via {SECOND}, after {FIRST} 4.7.326 dane-required{REQ}"),
    Scenario(name="recipient-domain-is-an-alias", rows="mx-found dane-usable", to="sales.contoso.test",
             records=("sales.contoso.test CNAME contoso.test.",), both=DANE_OK),
    Scenario(name="recipient-domain-is-an-insecure-alias", rows="mx-found dane-insecure", to="fabrikam.test",
             zones={"fabrikam.test": Signing.UNSIGNED}, records=("fabrikam.test MX 10 mx.contoso.test.",),
             opportunistic=TLS_OK, mandatory=f"{REQUIRED}the MX record of fabrikam.test is not signed with DNSSEC{REQ}"),
    Scenario(name="international-domain", rows="mx-found dane-usable", to="xn--bcher-kva.contoso.test",
             records=("xn--bcher-kva.contoso.test MX 10 mx.xn--bcher-kva.contoso.test.",),
             hosts=(Host("mx.xn--bcher-kva.contoso.test"),), both="delivered dane via mx.xn--bcher-kva.contoso.test"),
)  # fmt: skip

MX_SETS = (
    Scenario(name="first-mx-fails", rows="dane-usable", mx=UNEQUAL, hosts=(Host(FIRST, WRONG), Host(SECOND)),
             both=f"delivered dane via {SECOND}, after {FIRST} 4.7.323 tlsa-invalid{VALIDATION}",
             none=f"delivered tls via {FIRST}"),
    Scenario(name="second-mx-would-fail", rows="dane-usable", mx=UNEQUAL, hosts=(Host(FIRST), Host(SECOND, WRONG)),
             both=f"delivered dane via {FIRST}"),
    Scenario(name="equal-mx-bad-one-first", rows="dane-usable", mx=EQUAL, hosts=(Host(FIRST, WRONG), Host(SECOND)),
             both=f"delivered dane via {SECOND}, after {FIRST} 4.7.323 tlsa-invalid{VALIDATION}"),
    Scenario(name="equal-mx-good-one-first", rows="dane-usable", mx=EQUAL, hosts=(Host(FIRST, WRONG), Host(SECOND)),
             chance=0.99,
             both=f"delivered dane via {SECOND}"),
    Scenario(name="both-mx-fail", rows="dane-usable", mx=UNEQUAL,
             hosts=(Host(FIRST, WRONG), Host(SECOND, servers=(PLAIN,))),
             both=WRONG_KEY.replace("failure", "failure, starttls-not-supported")),
    Scenario(name="security-reasons-come-first", rows="dane-usable", mx=UNEQUAL,
             hosts=(Host(FIRST, servers=(None,)), Host(SECOND, WRONG)), both=WRONG_KEY),
    Scenario(name="second-mx-has-no-dane", rows="dane-usable dane-absent opportunistic-tls", mx=UNEQUAL,
             hosts=(Host(FIRST, WRONG), Host(SECOND, ())),
             opportunistic=f"delivered tls via {SECOND}, after {FIRST} 4.7.323 tlsa-invalid{VALIDATION}",
             mandatory=WRONG_KEY + ", dane-required"),
    Scenario(name="first-mx-cannot-be-told", rows="dane-tlsa-unknown dane-usable", mx=UNEQUAL,
             hosts=(Host(FIRST, ()), Host(SECOND)), faults={f"_tcp.{FIRST}": Fault.SERVFAIL},
             both=f"delivered dane via {SECOND}, after {FIRST} 4.7.324 dnssec-invalid{BOGUS}"),
)  # fmt: skip

ADDRESSES = (
    Scenario(name="aaaa-denial-bogus", rows="dane-address-partial dane-usable", spoil=("mx.contoso.test NSEC",),
             both=DANE_OK, none=TLS_OK),
    Scenario(name="aaaa-bogus", rows="dane-address-partial dane-usable", records=("mx.contoso.test AAAA 2001:db8::1",),
             spoil=("mx.contoso.test AAAA",), both=DANE_OK),
    Scenario(name="a-bogus", rows="dane-address-partial dane-usable", hosts=(Host(ipv6=True),),
             spoil=("mx.contoso.test A expired",), both=DANE_OK, none=TLS_OK),
    Scenario(name="both-families-bogus", rows="dane-address-unknown host-address-unknown",
             spoil=("mx.contoso.test A", "mx.contoso.test NSEC"),
             both=DNSSEC + bogus("A", MX, BROKEN) + "; " + bogus("AAAA", MX, BROKEN_DENIAL.format(MX)) + BOGUS,
             none=DNSSEC + bogus("A", MX, BROKEN) + "; " + bogus("AAAA", MX, BROKEN_DENIAL.format(MX)),
             report_only=DNSSEC + bogus("A", MX, BROKEN) + "; " + bogus("AAAA", MX, BROKEN_DENIAL.format(MX)) + BOGUS),
    Scenario(name="addresses-servfail", rows="dane-address-unknown host-address-unknown", mx=("10 mx.fabrikam.test.",),
             hosts=(),
             faults={"fabrikam.test": Fault.SERVFAIL},
             both=DNSSEC + f"A mx.fabrikam.test: {NO_ANSWER}; AAAA mx.fabrikam.test: {NO_ANSWER}{BOGUS}",
             none=DNS_FAILED + f"A mx.fabrikam.test: {NO_ANSWER}; AAAA mx.fabrikam.test: {NO_ANSWER}"),
    Scenario(name="addresses-insecure", rows="dane-insecure", mx=("10 mx.fabrikam.test.",),
             zones={"fabrikam.test": Signing.UNSIGNED}, hosts=(Host("mx.fabrikam.test", WRONG),),
             opportunistic="delivered tls via mx.fabrikam.test",
             mandatory=f"{REQUIRED}the addresses of mx.fabrikam.test are not signed with DNSSEC{REQ}"),
    Scenario(name="signed-host-of-an-unsigned-domain", rows="dane-insecure", zone=Signing.UNSIGNED,
             mx=("10 mx.fabrikam.test.",),
             zones={"fabrikam.test": Signing.NSEC}, hosts=(Host("mx.fabrikam.test", WRONG),),
             opportunistic="delivered tls via mx.fabrikam.test",
             mandatory=f"{REQUIRED}the MX record of contoso.test is not signed with DNSSEC{REQ}"),
    Scenario(name="signed-host-elsewhere", rows="dane-usable", mx=("10 mx.fabrikam.test.",),
             zones={"fabrikam.test": Signing.NSEC3}, hosts=(Host("mx.fabrikam.test"),),
             both="delivered dane via mx.fabrikam.test"),
)  # fmt: skip


def lame(name: str, fault: Fault, why: str = NO_ANSWER, *, slow: bool = False) -> Scenario:
    """A host that is fine but for the name server of its TLSA records."""
    line = f"{DNSSEC}TLSA {OWNER}: {why}{BOGUS}"
    return Scenario(name=name, rows="dane-tlsa-unknown", hosts=(Host(tlsa=()),), faults={"_tcp.mx.contoso.test": fault},
                    slow=slow, both=line, none=TLS_OK, report_only=TLS_OK + BOGUS)  # fmt: skip


def unproven(name: str, spoil: str, why: str, *, tlsa: tuple[str, ...] = ("3 1 1",)) -> Scenario:
    """A host whose TLSA records, or their absence, carry a signature that does not hold."""
    line = DNSSEC + bogus("TLSA", OWNER, why) + BOGUS
    return Scenario(name=name, rows="dane-tlsa-unknown", hosts=(Host(tlsa=tlsa),), spoil=(spoil,),
                    both=line, none=TLS_OK, report_only=TLS_OK + BOGUS)  # fmt: skip


TLSA = (
    Scenario(name="tlsa-absent", rows="dane-absent opportunistic-tls", hosts=(Host(tlsa=()),),
             opportunistic=TLS_OK, mandatory=NO_RECORD, none=TLS_OK),
    Scenario(name="tlsa-nodata", rows="dane-absent", hosts=(Host(tlsa=()),), records=(f"{OWNER} TXT here",),
             opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="tcp-cut-insecure", rows="dane-absent", zones={"_tcp.mx.contoso.test": Signing.UNSIGNED},
             hosts=(Host(tlsa=WRONG),), opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="tcp-cut-signed", rows="dane-usable", zones={"_tcp.mx.contoso.test": Signing.NSEC3},
             both=DANE_OK),
    Scenario(name="tcp-cut-ds-without-key", rows="dane-tlsa-unknown", zones={"_tcp.mx.contoso.test": Signing.DS_WITHOUT_KEY},
             both=DNSSEC + bogus("TLSA", OWNER, NO_KEY.format("_tcp.mx.contoso.test")) + BOGUS),
    Scenario(name="tcp-cut-unknown-algorithm", rows="dane-absent", zones={"_tcp.mx.contoso.test": Signing.UNKNOWN_ALGORITHM},
             hosts=(Host(tlsa=WRONG),), opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="wildcard-tlsa", rows="dane-usable", hosts=(Host(tlsa_at=("*._tcp.mx.contoso.test",)),),
             both=DANE_OK),
    Scenario(name="wildcard-tlsa-that-covers-nothing", rows="dane-absent", zone=Signing.NSEC3, mx=("10 mx.eu.contoso.test.",),
             hosts=(Host("mx.eu.contoso.test", WRONG, tlsa_at=("*.contoso.test",)),),
             opportunistic=TLS_OK.replace("mx.", "mx.eu."), mandatory=NO_RECORD.replace("mx.", "mx.eu.")),
    Scenario(name="tlsa-is-an-alias", rows="dane-usable", hosts=(Host(tlsa_at=("tlsa.contoso.test",)),),
             records=(f"{OWNER} CNAME tlsa.contoso.test.",), both=DANE_OK),
    Scenario(name="tlsa-is-an-alias-to-an-unsigned-zone", rows="dane-absent", zones={"fabrikam.test": Signing.UNSIGNED},
             hosts=(Host(tlsa=WRONG, tlsa_at=("tlsa.fabrikam.test",)),), records=(f"{OWNER} CNAME tlsa.fabrikam.test.",),
             opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="tlsa-is-an-alias-to-nothing", rows="dane-absent", hosts=(Host(tlsa=()),),
             records=(f"{OWNER} CNAME tlsa.contoso.test.",), opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="nsec3", rows="dane-usable", zone=Signing.NSEC3, both=DANE_OK),
    Scenario(name="nsec3-absent", rows="dane-absent", zone=Signing.NSEC3, hosts=(Host(tlsa=()),),
             opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="opt-out", rows="dane-usable", zone=Signing.NSEC3_OPT_OUT, both=DANE_OK),
    Scenario(name="opt-out-absent", rows="dane-absent", zone=Signing.NSEC3_OPT_OUT, hosts=(Host(tlsa=()),),
             opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="opt-out-unsigned-tcp-cut", rows="dane-absent", zone=Signing.NSEC3_OPT_OUT,
             zones={"_tcp.mx.contoso.test": Signing.UNSIGNED}, hosts=(Host(tlsa=WRONG),),
             opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="many-iterations", rows="dane-usable", zone=Signing.NSEC3_MANY_ITERATIONS,
             both=DANE_OK),
    Scenario(name="many-iterations-absent", rows="dane-absent", zone=Signing.NSEC3_MANY_ITERATIONS, hosts=(Host(tlsa=()),),
             opportunistic=TLS_OK, mandatory=NO_RECORD),
    Scenario(name="many-iterations-implicit-mx", rows="mx-implicit dane-insecure", zone=Signing.NSEC3_MANY_ITERATIONS, mx=(),
             hosts=(Host("contoso.test", WRONG),), opportunistic="delivered tls via contoso.test",
             mandatory=f"{REQUIRED}the MX record of contoso.test is not signed with DNSSEC{REQ}"),
    Scenario(name="sixty-records-over-tcp", rows="dane-usable",
             hosts=(Host(tlsa=(*(f"3 1 2 ={number:02x}{'cd' * 63}" for number in range(59)), "3 1 2")),),
             both=DANE_OK),
    Scenario(name="sixty-wrong-records-over-tcp", rows="dane-usable",
             hosts=(Host(tlsa=tuple(f"3 1 2 ={number:02x}{'cd' * 63}" for number in range(60))),),
             both=TLSA_INVALID + "TLSA 3 1 2 …: it is not the digest or value of the server's key (and 59 more did not "
             "match); TLS report: validation-failure"),
    unproven("tlsa-bogus", f"{OWNER} TLSA", BROKEN),
    unproven("tlsa-expired", f"{OWNER} TLSA expired", "signature expired"),
    unproven("tlsa-not-yet-valid", f"{OWNER} TLSA future", "signature before inception date"),
    unproven("tlsa-without-signature", f"{OWNER} TLSA missing", "no signatures"),
    unproven("tlsa-denial-bogus", "mx.contoso.test NSEC", BROKEN_DENIAL.format(MX), tlsa=()),
    lame("tlsa-servfail", Fault.SERVFAIL),
    lame("tlsa-refused", Fault.REFUSED),
    lame("tlsa-silent", Fault.SILENT, "no answer within 3 s", slow=True),
    lame("tlsa-garbage", Fault.GARBAGE),
    lame("tlsa-truncated", Fault.TRUNCATED),
    lame("tlsa-cut-short", Fault.SHORT_TLSA, "the answer cannot be read: a TLSA record has only 2 octets"),
)  # fmt: skip


def alias(name: str, line: str, *, rows: str, mandatory: str = "", **more: object) -> Scenario:
    """The MX host is an alias of mx.fabrikam.test."""
    fields: dict[str, object] = {
        "zones": {"fabrikam.test": Signing.NSEC},
        "records": ("mx.contoso.test CNAME mx.fabrikam.test.",),
        "hosts": (Host("mx.fabrikam.test"),),
    }
    return Scenario(name=name, rows=rows, opportunistic=line, mandatory=mandatory or line, **{**fields, **more})  # type: ignore[arg-type]


AT_ORIGINAL, AT_EXPANDED = OWNER, "_25._tcp.mx.fabrikam.test"
FABRIKAM_UNSIGNED = {"fabrikam.test": Signing.UNSIGNED}
NOT_SIGNED = f"{REQUIRED}the addresses of mx.contoso.test are not signed with DNSSEC{REQ}"
ALIASES = (
    alias("alias-secure-tlsa-expanded", DANE_OK, rows="dane-usable"),
    alias("alias-secure-tlsa-original", DANE_OK, rows="dane-usable", hosts=(Host("mx.fabrikam.test", tlsa_at=(AT_ORIGINAL,)),)),
    alias("alias-secure-tlsa-nowhere", TLS_OK, rows="dane-absent", mandatory=NO_RECORD, hosts=(Host("mx.fabrikam.test", ()),)),
    alias("alias-secure-expanded-wins", WRONG_KEY, rows="dane-usable", hosts=(Host("mx.fabrikam.test", WRONG),),
          records=("mx.contoso.test CNAME mx.fabrikam.test.", f"{AT_ORIGINAL} TLSA 3 1 1 {'ab' * 32}")),
    alias("alias-secure-expanded-unknown", f"{DNSSEC}TLSA _25._tcp.mx.fabrikam.test: {NO_ANSWER}{BOGUS}",
          rows="dane-tlsa-unknown",
          hosts=(Host("mx.fabrikam.test", tlsa_at=(AT_ORIGINAL,)),), faults={"_tcp.mx.fabrikam.test": Fault.SERVFAIL}),
    alias("alias-secure-expanded-insecure-cut", DANE_OK, rows="dane-usable",
          zones={"fabrikam.test": Signing.NSEC, "_tcp.mx.fabrikam.test": Signing.UNSIGNED},
          hosts=(Host("mx.fabrikam.test", tlsa_at=(AT_ORIGINAL,)),)),
    alias("alias-to-insecure-tlsa-original", DANE_OK, rows="dane-usable", zones=FABRIKAM_UNSIGNED,
          hosts=(Host("mx.fabrikam.test", tlsa_at=(AT_ORIGINAL,)),)),
    alias("alias-to-insecure-tlsa-expanded", TLS_OK, rows="dane-absent", mandatory=NO_RECORD, zones=FABRIKAM_UNSIGNED,
          hosts=(Host("mx.fabrikam.test", WRONG),)),
    alias("alias-to-insecure-wrong-tlsa-original", WRONG_KEY, rows="dane-usable", zones=FABRIKAM_UNSIGNED,
          hosts=(Host("mx.fabrikam.test", WRONG, tlsa_at=(AT_ORIGINAL,)),)),
    alias("alias-insecure-first", "delivered tls via alias.fabrikam.test", rows="dane-insecure", zones=FABRIKAM_UNSIGNED,
          mx=("10 alias.fabrikam.test.",), records=("alias.fabrikam.test CNAME mx.contoso.test.",),
          hosts=(Host(tlsa=WRONG),),
          mandatory=f"{REQUIRED}the addresses of alias.fabrikam.test are not signed with DNSSEC{REQ}"),
    alias("alias-secure-insecure-secure", DANE_OK, rows="dane-usable", zones=FABRIKAM_UNSIGNED,
          records=("mx.contoso.test CNAME a.fabrikam.test.", "a.fabrikam.test CNAME b.contoso.test."),
          hosts=(Host("b.contoso.test", tlsa_at=(AT_ORIGINAL,)),)),
    alias("alias-of-an-alias", DANE_OK, rows="dane-usable",
          records=("mx.contoso.test CNAME a.contoso.test.", "a.contoso.test CNAME mx.fabrikam.test.")),
    alias("alias-by-dname", "delivered dane via mx.old.contoso.test", rows="dane-usable", mx=("10 mx.old.contoso.test.",),
          records=("old.contoso.test DNAME fabrikam.test.",)),
    alias("alias-by-dname-to-insecure", "delivered tls via mx.old.contoso.test", rows="dane-absent", zones=FABRIKAM_UNSIGNED,
          mx=("10 mx.old.contoso.test.",), records=("old.contoso.test DNAME fabrikam.test.",),
          hosts=(Host("mx.fabrikam.test", WRONG),), mandatory=NO_RECORD.replace("mx.", "mx.old.")),
    alias("alias-by-wildcard", DANE_OK, rows="dane-usable", records=("*.contoso.test CNAME mx.fabrikam.test.",)),
    alias("alias-by-wildcard-to-insecure", TLS_OK, rows="dane-absent", records=("*.contoso.test CNAME mx.fabrikam.test.",),
          zones=FABRIKAM_UNSIGNED, hosts=(Host("mx.fabrikam.test", WRONG),), mandatory=NO_RECORD),
    alias("alias-loop", f"{DNSSEC}A mx.contoso.test: {NO_ANSWER}; AAAA mx.contoso.test: {NO_ANSWER}{BOGUS}",
          rows="dane-address-unknown",
          records=("mx.contoso.test CNAME a.contoso.test.", "a.contoso.test CNAME mx.contoso.test.")),
    # Which of the resolver's bounds is hit first depends on what it has in its cache.
    alias("alias-too-long", f"{DNSSEC}A mx.contoso.test: …", rows="dane-address-unknown",
          records=("mx.contoso.test CNAME a1.contoso.test.", "a20.contoso.test A 192.0.2.0",
                   *(f"a{number}.contoso.test CNAME a{number + 1}.contoso.test." for number in range(1, 20)))),
    alias("alias-to-nothing", f"{NO_ADDRESS}mx.contoso.test has neither A nor AAAA records", rows="host-no-address",
          records=("mx.contoso.test CNAME nothing.fabrikam.test.",), mandatory=NO_RECORD),
    alias("alias-bogus", DNSSEC + bogus("A", MX, BROKEN + " for CNAME") + "; " + bogus("AAAA", MX, BROKEN + " for CNAME")
          + BOGUS, rows="dane-address-unknown", spoil=("mx.contoso.test CNAME",)),
    alias("alias-to-bogus", DNSSEC + bogus("A", MX, BROKEN) + "; "
          + bogus("AAAA", MX, BROKEN_DENIAL.format("mx.fabrikam.test")) + BOGUS, rows="dane-address-unknown",
          spoil=("mx.fabrikam.test A", "mx.fabrikam.test NSEC")),
)  # fmt: skip

SCENARIOS = (*HOPS, *MX_SETS, *ADDRESSES, *TLSA, *ALIASES)
lab = world_of(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_scenario(lab: Lab, scenario: Scenario) -> None:
    assert await lab.lines(scenario) == scenario.lines
