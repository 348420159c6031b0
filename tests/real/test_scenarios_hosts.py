"""Scenarios of smart hosts: by name with and without MX records, in brackets, by address, by block, several."""

from __future__ import annotations

import pytest

from sealroute.policy.modes import TlsSettings
from simnet.nameserver import Fault
from simnet.signing import Signing
from tests.real.scenario import (
    DANE_OK,
    DNS_FAILED,
    DNSSEC,
    NAME,
    NO_ANSWER,
    NO_RECORD,
    NO_TLS,
    PLAIN,
    REQUIRED,
    STS_OK,
    STS_REQUIRED,
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
from tests.real.scenario_lab import Lab, world_of

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

WRONG = ("3 1 1 wrong",)
REQ = report("dane-required")
INVALID = report("validation-failure")
ADDRESS_TLS = "delivered tls via 192.0.2.0"


def routed(name: str, *smart_hosts: str, rows: str, **more: object) -> Scenario:
    """Mail to fabrikam.test, which need not exist, by way of the smart hosts; contoso.test has no MX record."""
    connector = {"use_mx_record": False, "smart_hosts": smart_hosts, **more.pop("connector", {})}  # type: ignore[dict-item]
    fields: dict[str, object] = {"mx": (), "to": "fabrikam.test", **more}
    return Scenario(name=name, rows=rows, connector=connector, **fields)  # type: ignore[arg-type]


BY_NAME = (
    routed("smart-host", "mx.contoso.test", rows="smart-host dane-usable sts-absent", both=DANE_OK, none=TLS_OK),
    routed("smart-host-wrong-tlsa", "mx.contoso.test", rows="smart-host dane-usable", hosts=(Host(tlsa=WRONG),),
           both=WRONG_KEY, none=TLS_OK),
    routed("smart-host-without-tlsa", "mx.contoso.test", rows="smart-host dane-absent", hosts=(Host(tlsa=()),),
           opportunistic=TLS_OK,
           mandatory=NO_RECORD),
    routed("smart-host-unsigned", "mx.contoso.test", rows="smart-host dane-insecure", zone=Signing.UNSIGNED,
           hosts=(Host(tlsa=WRONG),),
           opportunistic=TLS_OK, mandatory=f"{REQUIRED}the addresses of mx.contoso.test are not signed with DNSSEC{REQ}"),
    routed("smart-host-with-mx", "contoso.test", rows="smart-host dane-usable", mx=("10 mx.contoso.test.",), both=DANE_OK),
    routed("smart-host-with-mx-wrong-tlsa", "contoso.test", rows="smart-host dane-usable", mx=("10 mx.contoso.test.",),
           hosts=(Host(tlsa=WRONG),), both=WRONG_KEY),
    routed("smart-host-with-unsigned-mx", "contoso.test", rows="smart-host dane-insecure", zone=Signing.UNSIGNED,
           mx=("10 mx.contoso.test.",),
           hosts=(Host(tlsa=WRONG),), opportunistic=TLS_OK,
           mandatory=f"{REQUIRED}the MX record of contoso.test is not signed with DNSSEC{REQ}"),
    routed("smart-host-mx-bogus", "contoso.test", rows="mx-bogus", mx=("10 mx.contoso.test.",), spoil=("contoso.test MX",),
           opportunistic=f"{DNSSEC}MX contoso.test: validation failure <contoso.test. MX IN>: ECDSA signature verification "
           f"failed; TLS report: dnssec-invalid",
           none=f"{DNSSEC}MX contoso.test: validation failure <contoso.test. MX IN>: ECDSA signature verification failed"),
    routed("smart-host-mx-servfail", "contoso.test", rows="mx-unknown", zone=None, hosts=(),
           faults={"contoso.test": Fault.SERVFAIL},
           opportunistic=f"{DNS_FAILED}MX contoso.test: {NO_ANSWER}"),
    routed("smart-host-null-mx", "contoso.test", rows="smart-host dane-usable", mx=("0 .",), hosts=(Host("contoso.test"),),
           opportunistic="delivered dane via contoso.test"),
    routed("smart-host-in-brackets", "[contoso.test]", rows="smart-host dane-usable", mx=("10 elsewhere.contoso.test.",),
           hosts=(Host("contoso.test"),), both="delivered dane via contoso.test"),
    routed("smart-host-tlsa-unknown", "mx.contoso.test", rows="smart-host dane-tlsa-unknown", hosts=(Host(tlsa=()),),
           faults={"_tcp.mx.contoso.test": Fault.SERVFAIL}, both=TLSA_UNKNOWN, none=TLS_OK),
    routed("smart-host-alias", "smart.contoso.test", rows="smart-host dane-usable",
           records=("smart.contoso.test CNAME mx.contoso.test.",),
           both="delivered dane via smart.contoso.test"),
    routed("smart-host-trust-anchor", "smart.contoso.test", rows="smart-host dane-usable",
           hosts=(Host("smart.contoso.test", ("2 1 1 ca",), private()),),
           opportunistic="delivered dane via smart.contoso.test"),
    routed("smart-host-name-of-the-recipient-is-no-name", "mx.contoso.test", rows="smart-host dane-usable",
           hosts=(Host(tlsa=("2 1 1 ca",), cert=private("fabrikam.test")),),
           opportunistic=f"{NAME}TLSA 2 1 1 …: the certificate is for fabrikam.test, not for mx.contoso.test; TLS report: "
           f"certificate-host-mismatch"),
)  # fmt: skip

BY_ADDRESS = (
    routed("smart-host-address", "192.0.2.0", rows="smart-host dane-literal sts-literal opportunistic-tls",
           opportunistic=ADDRESS_TLS,
           none=ADDRESS_TLS, mandatory=f"{REQUIRED}192.0.2.0 is an address, not a name{REQ}",
           sts_mandatory=f"{STS_REQUIRED}192.0.2.0 is an address, not a name"),
    routed("smart-host-address-in-brackets", "[192.0.2.0]", rows="smart-host dane-literal sts-literal",
           opportunistic=ADDRESS_TLS,
           mandatory=f"{REQUIRED}192.0.2.0 is an address, not a name{REQ}"),
    routed("smart-host-block", "192.0.2.0/31", rows="smart-host dane-literal", hosts=(Host(servers=(None, Host().servers[0])),),
           opportunistic="delivered tls via 192.0.2.0/31, after 192.0.2.0/31 4.4.316 connection-refused",
           mandatory=f"{REQUIRED}192.0.2.0/31 is an address, not a name{REQ}"),
    routed("smart-host-address-with-domain", "192.0.2.0", rows="smart-host dane-literal tls-settings",
           hosts=(Host(cert=web()),),
           connector={"tls_settings": TlsSettings.DOMAIN_VALIDATION, "tls_domain": "mx.contoso.test"},
           opportunistic=ADDRESS_TLS),
    routed("smart-host-address-no-starttls", "192.0.2.0", rows="smart-host dane-literal tls-settings",
           hosts=(Host(servers=(PLAIN,)),),
           connector={"tls_settings": TlsSettings.ENCRYPTION_ONLY}, opportunistic=f"{NO_TLS}STARTTLS is not offered"),
    Scenario(name="recipient-at-an-address", rows="dane-literal sts-literal", to="[192.0.2.0]", opportunistic=ADDRESS_TLS,
             mandatory=f"{REQUIRED}192.0.2.0 is an address, not a name{REQ}"),
)  # fmt: skip

FIRST, SECOND = "mx1.contoso.test", "mx2.contoso.test"
SEVERAL = (
    routed("smart-hosts-first-wins", FIRST, SECOND, rows="smart-host dane-usable", hosts=(Host(FIRST), Host(SECOND)),
           opportunistic=f"delivered dane via {FIRST}"),
    routed("smart-hosts-keep-their-order", FIRST, SECOND, rows="smart-host dane-usable", hosts=(Host(FIRST), Host(SECOND)),
           chance=0.99, opportunistic=f"delivered dane via {FIRST}"),
    routed("smart-hosts-first-fails", FIRST, SECOND, rows="smart-host dane-usable", hosts=(Host(FIRST, WRONG), Host(SECOND)),
           opportunistic=f"delivered dane via {SECOND}, after {FIRST} 4.7.323 tlsa-invalid{INVALID}"),
    routed("smart-hosts-address-second", FIRST, "192.0.2.1", rows="smart-host dane-usable dane-literal",
           hosts=(Host(FIRST, WRONG), Host(SECOND)),
           opportunistic=f"delivered tls via 192.0.2.1, after {FIRST} 4.7.323 tlsa-invalid{INVALID}",
           mandatory=WRONG_KEY + ", dane-required"),
    routed("smart-hosts-first-cannot-be-looked-up", "contoso.test", "mx.fabrikam.test", rows="mx-bogus smart-host dane-usable",
           mx=("10 mx.contoso.test.",), spoil=("contoso.test MX",), zones={"fabrikam.test": Signing.NSEC},
           hosts=(Host("mx.fabrikam.test"),),
           opportunistic="delivered dane via mx.fabrikam.test, after contoso.test 4.7.324 dnssec-invalid"
           + report("dnssec-invalid")),
    routed("smart-hosts-security-reasons-come-first", "contoso.test", "mx.fabrikam.test",
           rows="mx-bogus smart-host dane-usable",
           mx=("10 mx.contoso.test.",), spoil=("contoso.test MX expired",), zones={"fabrikam.test": Signing.NSEC},
           hosts=(Host("mx.fabrikam.test", servers=(None,)),),
           opportunistic=f"{DNSSEC}MX contoso.test: validation failure <contoso.test. MX IN>: signature expired"
           + report("dnssec-invalid")),
)  # fmt: skip

SMART_POLICY = {"zone": Signing.UNSIGNED, "hosts": (Host(tlsa=(), cert=web()),)}
POLICIES = (
    routed("smart-host-policy", "mx.contoso.test", rows="smart-host sts-enforce", policy=Policy(domain="mx.contoso.test"),
           **SMART_POLICY,
           opportunistic=STS_OK, sts_mandatory=STS_OK, sts_none=TLS_OK),
    routed("smart-host-policy-mismatch", "mx.contoso.test", rows="smart-host sts-enforce-mismatch",
           policy=Policy(("elsewhere.test",), domain="mx.contoso.test"), **SMART_POLICY,
           opportunistic="held 450 4.4.8 MX hosts of mx.contoso.test failed MTA-STS validation: mx.contoso.test is not among: "
           "elsewhere.test; TLS report: validation-failure", sts_none=TLS_OK),
    routed("smart-host-with-mx-policy", "contoso.test", rows="smart-host sts-enforce", mx=("10 mx.contoso.test.",),
           policy=Policy(),
           **SMART_POLICY, opportunistic=STS_OK),
    routed("smart-host-policy-of-the-recipient-does-not-count", "mx.contoso.test", rows="smart-host sts-absent",
           policy=Policy(("elsewhere.test",), domain="fabrikam.test"), zones={"fabrikam.test": Signing.UNSIGNED},
           **SMART_POLICY,
           opportunistic=TLS_OK, sts_mandatory=f"{STS_REQUIRED}mx.contoso.test publishes no MTA-STS policy"),
    routed("smart-host-dane-and-policy", "mx.contoso.test", rows="smart-host dane-usable sts-enforce dane-over-sts",
           hosts=(Host(cert=web()),),
           policy=Policy(domain="mx.contoso.test"), opportunistic=DANE_OK,
           pairs={(D.MANDATORY, S.MANDATORY): DANE_OK, (D.NONE, S.MANDATORY): STS_OK}),
)  # fmt: skip

SCENARIOS = (*BY_NAME, *BY_ADDRESS, *SEVERAL, *POLICIES)
lab = world_of(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_scenario(lab: Lab, scenario: Scenario) -> None:
    assert await lab.lines(scenario) == scenario.lines
