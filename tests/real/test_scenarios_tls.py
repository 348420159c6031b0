"""Scenarios of TLS itself: servers that fail at it; TlsSettings; REQUIRETLS, TLS-Required: No; a resolver that cannot validate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealroute.policy.modes import TlsSettings
from simnet.mailhost import PROFILES, Behaviour
from simnet.nameserver import Fault
from simnet.policyhost import Behaviour as Serving
from simnet.signing import Signing
from tests.real.scenario import (
    BLIND,
    DANE_OK,
    GOOD,
    NO_RECORD,
    NO_STARTTLS,
    NO_TLS,
    PLAIN,
    PLAIN_OK,
    REQUIRETLS,
    STS_CERT,
    STS_FETCH,
    STS_OK,
    TLS_CHAIN,
    TLS_NAME,
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
from tests.real.scenario_certs import EXPIRED, web
from tests.real.scenario_lab import Lab, world_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings(
        "ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning"
    ),  # one server speaks nothing else
]

NO_TLS_REPORT = report("starttls-not-supported")
DENIED = "Destination mail server must support TLS to receive mail"


def server(name: str, behaviour: Behaviour, why: str, *, without_dane: str, slow: bool = False) -> tuple[Scenario, Scenario]:
    """A server that fails at TLS: with TLSA records it must not, without them mail goes as it may."""
    held = f"{NO_STARTTLS}{why}{NO_TLS_REPORT}"
    return (
        Scenario(name=f"{name}-with-dane", rows="dane-usable", hosts=(Host(servers=(behaviour,)),), slow=slow,
                 both=held, none=without_dane, report_only=without_dane + NO_TLS_REPORT),
        Scenario(name=f"{name}-without-dane", rows="dane-absent opportunistic-tls",
                 hosts=(Host(tlsa=(), servers=(behaviour,)),),
                 slow=slow, opportunistic=without_dane, mandatory=NO_RECORD),
    )  # fmt: skip


INJECTED = (
    "held 450 4.5.0 The destination mail server broke the SMTP protocol: the server sent '250 2.0.0 injected' in plaintext "
    "after its reply to STARTTLS, which answers no command"
)
AFTER_FAILURE = f"{PLAIN_OK}, after mx.contoso.test 4.7.321 starttls-not-supported"
SERVERS = (
    *server("no-starttls", PLAIN, "STARTTLS is not offered", without_dane=PLAIN_OK),
    *server("starttls-454", PROFILES["starttls454"],
            "STARTTLS was answered 454 4.7.0 TLS not available due to local problem", without_dane=PLAIN_OK),
    *server("handshake-alert", PROFILES["handshake-alert"], "the TLS handshake failed: sslv3 alert handshake failure",
            without_dane=AFTER_FAILURE),
    *server("handshake-garbage", PROFILES["handshake-garbage"], "the TLS handshake failed: wrong version number",
            without_dane=AFTER_FAILURE),
    *server("handshake-cut-off", replace(GOOD, drop_at="HANDSHAKE"),
            "the TLS handshake failed: the server closed the connection during the TLS handshake", without_dane=AFTER_FAILURE),
    *server("handshake-silent", replace(GOOD, silent_at="HANDSHAKE"),
            "the TLS handshake failed: the TLS handshake was not finished after 2 s",
            without_dane=AFTER_FAILURE, slow=True),
    *server("tls-1.1-only", PROFILES["tls11"], "the TLS handshake failed: tlsv1 alert protocol version",
            without_dane=AFTER_FAILURE),
    Scenario(name="tls-1.2-only", rows="dane-usable", hosts=(Host(servers=(PROFILES["tls12"],)),), both=DANE_OK),
    Scenario(name="second-address-drops-starttls", rows="dane-usable", hosts=(Host(servers=(GOOD, PLAIN)),),
             both=DANE_OK),
    Scenario(name="only-second-address-answers-and-drops-starttls", rows="dane-usable", hosts=(Host(servers=(None, PLAIN)),),
             both=f"{NO_STARTTLS}STARTTLS is not offered{NO_TLS_REPORT}",
             none=f"{PLAIN_OK}, after mx.contoso.test 4.4.316 connection-refused"),
    Scenario(name="first-address-drops-starttls", rows="dane-usable", hosts=(Host(servers=(PLAIN, GOOD)),),
             both=f"{DANE_OK}, after mx.contoso.test 4.7.321 starttls-not-supported{NO_TLS_REPORT}", none=PLAIN_OK),
    Scenario(name="octets-before-the-handshake", rows="dane-absent", hosts=(Host(tlsa=(), servers=(PROFILES["inject"],)),),
             opportunistic=INJECTED, none=INJECTED, mandatory=NO_RECORD),
)  # fmt: skip

CHAIN, DOMAIN, ENCRYPTION = TlsSettings.CERTIFICATE_VALIDATION, TlsSettings.DOMAIN_VALIDATION, TlsSettings.ENCRYPTION_ONLY
SETTINGS = (
    Scenario(name="encryption-only", rows="dane-absent tls-settings", hosts=(Host(tlsa=()),),
             connector={"tls_settings": ENCRYPTION},
             opportunistic=TLS_OK, mandatory=NO_RECORD, none=TLS_OK),
    Scenario(name="encryption-only-no-starttls", rows="dane-absent tls-settings", hosts=(Host(tlsa=(), servers=(PLAIN,)),),
             connector={"tls_settings": ENCRYPTION}, opportunistic=f"{NO_TLS}STARTTLS is not offered",
             none=f"{NO_TLS}STARTTLS is not offered"),
    Scenario(name="encryption-only-handshake-alert", rows="dane-absent tls-settings",
             hosts=(Host(tlsa=(), servers=(PROFILES["handshake-alert"],)),), connector={"tls_settings": ENCRYPTION},
             opportunistic=f"{NO_TLS}the TLS handshake failed: sslv3 alert handshake failure"),
    Scenario(name="chain-good", rows="dane-absent tls-settings", hosts=(Host(tlsa=(), cert=web()),),
             connector={"tls_settings": CHAIN},
             opportunistic=TLS_OK, none=TLS_OK),
    Scenario(name="chain-self-signed", rows="dane-absent tls-settings", hosts=(Host(tlsa=()),),
             connector={"tls_settings": CHAIN},
             opportunistic=f"{TLS_CHAIN}UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test)",
             none=f"{TLS_CHAIN}UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test)"),
    Scenario(name="chain-of-another-name", rows="dane-absent tls-settings", hosts=(Host(tlsa=(), cert=web("elsewhere.test")),),
             connector={"tls_settings": CHAIN}, opportunistic=TLS_OK),
    Scenario(name="chain-expired-and-dane-good", rows="dane-usable tls-settings", hosts=(Host(cert=web(wish=EXPIRED)),),
             connector={"tls_settings": CHAIN}, both=f"{TLS_CHAIN}Expired: the certificate expired at … (CN=mx.contoso.test)"),
    Scenario(name="chain-good-and-dane-wrong", rows="dane-usable tls-settings",
             hosts=(Host(tlsa=("3 1 1 wrong",), cert=web()),),
             connector={"tls_settings": CHAIN}, opportunistic=WRONG_KEY, none=TLS_OK),
    Scenario(name="chain-good-and-dane-unusable", rows="dane-unusable tls-settings", hosts=(Host(tlsa=("1 1 1",), cert=web()),),
             connector={"tls_settings": CHAIN}, opportunistic=TLS_OK),
    Scenario(name="domain-good", rows="dane-usable tls-settings", hosts=(Host(cert=web("*.contoso.test")),),
             connector={"tls_settings": DOMAIN, "tls_domain": "mx.contoso.test"}, both=DANE_OK),
    Scenario(name="domain-wildcard", rows="tls-settings", hosts=(Host(tlsa=(), cert=web()),),
             connector={"tls_settings": DOMAIN, "tls_domain": "*.contoso.test"}, opportunistic=TLS_OK),
    Scenario(name="domain-of-another", rows="dane-usable tls-settings", hosts=(Host(cert=web()),),
             connector={"tls_settings": DOMAIN, "tls_domain": "mail.fabrikam.test"},
             both=f"{TLS_NAME}mx.contoso.test, not for mail.fabrikam.test]"),
    Scenario(name="domain-in-the-common-name-only", rows="tls-settings",
             hosts=(Host(tlsa=(), cert=web(wish=replace(EXPIRED, expired=False, san=False))),),
             connector={"tls_settings": DOMAIN, "tls_domain": "mx.contoso.test"},
             opportunistic=f"{TLS_NAME}no DNS name, not for mx.contoso.test]"),
    Scenario(name="settings-and-policy", rows="sts-enforce tls-settings", zone=Signing.UNSIGNED,
             hosts=(Host(tlsa=(), cert=web()),),
             policy=Policy(), connector={"tls_settings": DOMAIN, "tls_domain": "elsewhere.test"},
             opportunistic=f"{TLS_NAME}mx.contoso.test, not for elsewhere.test]",
             sts_none=f"{TLS_NAME}mx.contoso.test, not for elsewhere.test]"),
)  # fmt: skip

SPEAKS = PROFILES["requiretls"]
NOT_AUTHENTICATED = f"{REQUIRETLS}neither DANE nor MTA-STS authenticates it"
WISHES = (
    Scenario(name="requiretls-by-dane", rows="dane-usable requiretls", hosts=(Host(servers=(SPEAKS,)),), require_tls=True,
             both=DANE_OK, none=DANE_OK, report_only=DANE_OK),
    Scenario(name="requiretls-by-sts", rows="sts-enforce requiretls", zone=Signing.UNSIGNED, policy=Policy(), require_tls=True,
             hosts=(Host(tlsa=(), cert=web(), servers=(SPEAKS,)),), opportunistic=STS_OK, sts_none=STS_OK),
    Scenario(name="requiretls-not-offered", rows="dane-usable requiretls", require_tls=True,
             both=f"{REQUIRETLS}the server does not offer REQUIRETLS"),
    Scenario(name="requiretls-offered-by-second", rows="dane-usable requiretls", require_tls=True,
             mx=("10 mx.contoso.test.", "20 mx2.contoso.test."), hosts=(Host(), Host("mx2.contoso.test", servers=(SPEAKS,))),
             opportunistic="delivered dane via mx2.contoso.test, after mx.contoso.test 4.7.30 requiretls-unsupported"),
    Scenario(name="requiretls-without-dane", rows="dane-absent sts-absent requiretls", require_tls=True,
             hosts=(Host(tlsa=(), servers=(SPEAKS,)),), opportunistic=NOT_AUTHENTICATED),
    Scenario(name="requiretls-dane-unusable", rows="dane-unusable requiretls", require_tls=True,
             hosts=(Host(tlsa=("1 1 1",), servers=(SPEAKS,)),), opportunistic=NOT_AUTHENTICATED),
    Scenario(name="requiretls-dane-unknown", rows="dane-tlsa-unknown", require_tls=True,
             hosts=(Host(tlsa=(), servers=(SPEAKS,)),),
             faults={"_tcp.mx.contoso.test": Fault.REFUSED}, none=TLSA_UNKNOWN, opportunistic=TLSA_UNKNOWN),
    Scenario(name="requiretls-policy-testing", rows="sts-testing requiretls", zone=Signing.UNSIGNED,
             policy=Policy(mode="testing"),
             require_tls=True, hosts=(Host(tlsa=(), cert=web(), servers=(SPEAKS,)),), opportunistic=NOT_AUTHENTICATED),
    Scenario(name="requiretls-wrong-certificate", rows="dane-usable requiretls", require_tls=True,
             hosts=(Host(tlsa=("3 1 1 wrong",), servers=(SPEAKS,)),), opportunistic=WRONG_KEY),
    Scenario(name="tls-required-no", rows="dane-usable tls-required-no", hosts=(Host(tlsa=("3 1 1 wrong",)),),
             tls_required_no=True,
             opportunistic=TLS_OK + report("validation-failure"), mandatory=WRONG_KEY, none=TLS_OK),
    Scenario(name="tls-required-no-tlsa-unknown", rows="dane-tlsa-unknown tls-required-no", hosts=(Host(tlsa=()),),
             faults={"_tcp.mx.contoso.test": Fault.SERVFAIL}, tls_required_no=True,
             opportunistic=TLS_OK + report("dnssec-invalid"), mandatory=TLSA_UNKNOWN),
    Scenario(name="tls-required-no-policy", rows="sts-enforce-mismatch tls-required-no", zone=Signing.UNSIGNED,
             tls_required_no=True,
             policy=Policy(mx=("elsewhere.test",)), hosts=(Host(tlsa=()),), opportunistic=TLS_OK + report("validation-failure"),
             sts_mandatory="held 450 4.4.8 MX hosts of contoso.test failed MTA-STS validation: mx.contoso.test is not among: "
             "elsewhere.test; TLS report: validation-failure"),
    Scenario(name="tls-required-no-and-settings", rows="tls-required-no tls-settings", tls_required_no=True,
             hosts=(Host(tlsa=(), servers=(PLAIN,)),), connector={"tls_settings": ENCRYPTION},
             opportunistic=f"{NO_TLS}STARTTLS is not offered"),
    Scenario(name="tls-required-no-and-requiretls", rows="requiretls", tls_required_no=True, require_tls=True,
             hosts=(Host(tlsa=("3 1 1 wrong",), servers=(SPEAKS,)),), opportunistic=WRONG_KEY),
)  # fmt: skip

UNTRUSTED = (
    Scenario(name="resolver-cannot-validate-wrong-tlsa", rows="dane-usable resolver-cannot-validate", resolver_trusted=False,
             hosts=(Host(tlsa=("3 1 1 wrong",)),), opportunistic=WRONG_KEY, none=TLS_OK),
    Scenario(name="resolver-cannot-validate-tlsa-unknown", rows="dane-tlsa-unknown resolver-cannot-validate",
             resolver_trusted=False, hosts=(Host(tlsa=()),), faults={"_tcp.mx.contoso.test": Fault.SERVFAIL},
             opportunistic=f"{BLIND}.", none=TLS_OK),
    Scenario(name="resolver-cannot-validate-mx-bogus", rows="mx-bogus resolver-cannot-validate", resolver_trusted=False,
             spoil=("contoso.test MX",), both=f"{BLIND}."),
    Scenario(name="resolver-cannot-validate-wrong-policy", rows="dane-usable sts-enforce-mismatch resolver-cannot-validate",
             resolver_trusted=False, policy=Policy(("elsewhere.test",)),
             opportunistic="held 450 4.4.8 MX hosts of contoso.test failed MTA-STS validation: "
             "mx.contoso.test is not among: elsewhere.test" + report("validation-failure")),
    Scenario(name="resolver-cannot-validate-policy-fails", rows="dane-usable sts-enforce resolver-cannot-validate",
             resolver_trusted=False, policy=Policy(),
             opportunistic=f"{STS_CERT}UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test)"
             + report("certificate-not-trusted")),
    Scenario(name="requiretls-policy-not-fetched", rows="dane-absent sts-fetch-error requiretls", require_tls=True,
             policy=Policy(behaviour=Serving.NOT_FOUND), hosts=(Host(tlsa=(), servers=(SPEAKS,)),),
             opportunistic=f"{STS_FETCH}neither DANE nor MTA-STS authenticates it, as REQUIRETLS asks. "
             "The policy host mta-sts.contoso.test answered with HTTP status 404 instead of 200."
             + report("sts-policy-fetch-error")),
    Scenario(name="requiretls-at-an-address", rows="dane-literal requiretls", require_tls=True, to="[192.0.2.0]",
             hosts=(Host(servers=(SPEAKS,)),), opportunistic=NOT_AUTHENTICATED),
    Scenario(name="resolver-cannot-validate", rows="resolver-cannot-validate", resolver_trusted=False,
             opportunistic=TLS_OK, none=TLS_OK, report_only=TLS_OK, mandatory=f"{BLIND}."),
    Scenario(name="resolver-cannot-validate-requiretls", rows="resolver-cannot-validate requiretls", resolver_trusted=False,
             require_tls=True, hosts=(Host(servers=(SPEAKS,)),),
             opportunistic=f"{BLIND}: neither DANE nor MTA-STS authenticates it"),
    Scenario(name="resolver-cannot-validate-policy-holds", rows="resolver-cannot-validate sts-enforce", resolver_trusted=False,
             hosts=(Host(cert=web()),), policy=Policy(), opportunistic=STS_OK,
             pairs={(D.MANDATORY, S.MANDATORY): f"{BLIND}.", (D.NONE, S.MANDATORY): STS_OK}),
)  # fmt: skip

EXCEPTIONS = (
    Scenario(name="excepted", rows="exception dane-usable", hosts=(Host(tlsa=("3 1 1 wrong",)),), excepted=D.REPORT_ONLY,
             both=TLS_OK + report("validation-failure")),
    Scenario(name="excepted-upwards", rows="exception dane-absent", hosts=(Host(tlsa=()),), excepted=D.MANDATORY,
             opportunistic=NO_RECORD),
    Scenario(name="excepted-with-settings", rows="exception tls-settings", hosts=(Host(tlsa=("3 1 1 wrong",)),),
             excepted=D.NONE, connector={"tls_settings": CHAIN}, mandatory=f"{TLS_CHAIN}UntrustedRoot: the certificate is "
             "self-signed (CN=mx.contoso.test)"),
)  # fmt: skip

RULES = (
    Scenario(name="ruled-upwards", rows="transport-rule dane-absent", hosts=(Host(tlsa=()),), ruled=D.MANDATORY,
             opportunistic=NO_RECORD),
    Scenario(name="not-ruled-downwards", rows="transport-rule dane-absent", hosts=(Host(tlsa=()),), ruled=D.REPORT_ONLY,
             mandatory=NO_RECORD),
)  # fmt: skip

SCENARIOS = (*EXCEPTIONS, *RULES, *SERVERS, *SETTINGS, *WISHES, *UNTRUSTED)
lab = world_of(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_scenario(lab: Lab, scenario: Scenario) -> None:
    assert await lab.lines(scenario) == scenario.lines
