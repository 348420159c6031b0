"""Scenarios of MTA-STS: records, policies, policy hosts and certificates, alone and together with DANE; smart hosts."""

from __future__ import annotations

import pytest

from simnet.nameserver import Fault
from simnet.policyhost import Behaviour, Certificate, policy_text
from simnet.signing import Signing
from tests.real.scenario import (
    DANE_OK,
    NO_ANSWER,
    NO_RECORD,
    PLAIN,
    PLAIN_OK,
    REQUIRED,
    STS_CERT,
    STS_FETCH,
    STS_MX,
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
from tests.real.scenario_certs import COMMON_NAME_ONLY, EXPIRED, from_tomorrow, private, web
from tests.real.scenario_lab import Lab, world_of

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

GOOD_HOST = Host(tlsa=(), cert=web())
SELF_SIGNED = Host(tlsa=())
ENFORCE = policy_text("mx.contoso.test")
FETCH = report("sts-policy-fetch-error")


def published(name: str, line: str, *, rows: str, mandatory: str, policy: Policy | None, host: Host = GOOD_HOST,
              cached: str = "", none: str = TLS_OK, slow: bool = False, spoil: tuple[str, ...] = (),
              zone: Signing = Signing.UNSIGNED) -> Scenario:  # fmt: skip
    """An unsigned domain, so that DANE has no say."""
    return Scenario(name=name, rows=rows, zone=zone, hosts=(host,), policy=policy, cached=cached, slow=slow, spoil=spoil,
                    opportunistic=line, sts_mandatory=mandatory, sts_none=none)  # fmt: skip


def holds(name: str, *mx: str, host: str = "mx.contoso.test", text: str = "", txt: str = "v=STSv1; id=1;") -> Scenario:
    """An enforce policy that is met."""
    line = STS_OK.replace("mx.contoso.test", host)
    policy = Policy(mx or (host,), text=text, txt=(txt,))
    return Scenario(name=name, rows="sts-enforce", zone=Signing.UNSIGNED, mx=(f"10 {host}.",), hosts=(Host(host, (), web()),),
                    policy=policy, opportunistic=line, sts_mandatory=line, sts_report_only=line)  # fmt: skip


def broken(name: str, line: str, *, host: Host, result: str) -> Scenario:
    """An enforce policy that the host does not meet."""
    held = f"{line}{report(result)}"
    plain = host.servers == (PLAIN,)
    return Scenario(name=name, rows="sts-enforce", zone=Signing.UNSIGNED, hosts=(host,), policy=Policy(), opportunistic=held,
                    sts_mandatory=held, sts_none=PLAIN_OK if plain else TLS_OK,
                    sts_report_only=(PLAIN_OK if plain else TLS_OK) + report(result))  # fmt: skip


def mismatch(name: str, *mx: str, host: str = "mx.contoso.test") -> Scenario:
    """An enforce policy that does not name the host."""
    held = f"{STS_MX}{host} is not among: {', '.join(mx)}{report('validation-failure')}"
    line = TLS_OK.replace("mx.contoso.test", host)
    return Scenario(name=name, rows="sts-enforce-mismatch", zone=Signing.UNSIGNED, mx=(f"10 {host}.",),
                    hosts=(Host(host, (), web()),), policy=Policy(mx), opportunistic=held, sts_mandatory=held, sts_none=line,
                    sts_report_only=line + report("validation-failure"))  # fmt: skip


POLICIES = (
    holds("policy-good"),
    holds("policy-wildcard", "*.contoso.test"),
    holds("policy-second-pattern", "elsewhere.test", "mx.contoso.test"),
    holds("policy-host-in-capitals", "MX.contoso.TEST"),
    holds("policy-international-host", host="mx.xn--bcher-kva.contoso.test"),
    holds("policy-line-feeds", text=ENFORCE.replace("\r\n", "\n")),
    holds("policy-unknown-field", text=ENFORCE + "shade: green\r\n"),
    holds("txt-unknown-field", txt="v=STSv1; id=1; shade=green;"),
    Scenario(name="policy-host-is-an-alias", rows="sts-enforce", zone=Signing.UNSIGNED, hosts=(GOOD_HOST,),
             policy=Policy(hosted_at="policies.contoso.test"), opportunistic=STS_OK, sts_mandatory=STS_OK),
    Scenario(name="txt-is-an-alias", rows="sts-enforce", zone=Signing.UNSIGNED, hosts=(GOOD_HOST,), policy=Policy(txt=()),
             records=("_mta-sts.contoso.test CNAME id.contoso.test.", 'id.contoso.test TXT "v=STSv1; " "id=1;"'),
             opportunistic=STS_OK, sts_mandatory=STS_OK),
    Scenario(name="policy-in-chunks", rows="sts-enforce", zone=Signing.UNSIGNED, hosts=(GOOD_HOST,),
             policy=Policy(behaviour=Behaviour.CHUNKED), opportunistic=STS_OK, sts_mandatory=STS_OK),
    Scenario(name="policy-of-no-duration", rows="sts-enforce-mismatch", zone=Signing.UNSIGNED, hosts=(GOOD_HOST,),
             policy=Policy(("elsewhere.test",), max_age=0), sts_none=TLS_OK,
             opportunistic=f"{STS_MX}mx.contoso.test is not among: elsewhere.test{report('validation-failure')}"),
    mismatch("policy-of-another-host", "mx.fabrikam.test"),
    mismatch("policy-wildcard-covers-one-label", "*.contoso.test", host="mx.eu.contoso.test"),
    mismatch("policy-wildcard-covers-not-itself", "*.mx.contoso.test"),
    mismatch("policy-of-the-domain-only", "contoso.test"),
    broken("policy-self-signed", STS_CERT + "UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test)",
           host=SELF_SIGNED, result="certificate-not-trusted"),
    broken("policy-private-authority",
           STS_CERT + "UntrustedRoot: no trusted issuer was found for the certificate (CN=mx.contoso.test), issued by "
           "CN=Private Issuing", host=Host(tlsa=(), cert=private(sent="leaf ca root")),
           result="certificate-not-trusted"),
    broken("policy-intermediate-missing",
           STS_CERT + "UntrustedRoot: no trusted issuer was found for the certificate (CN=mx.contoso.test), issued by CN=Web "
           "Issuing", host=Host(tlsa=(), cert=web(sent="leaf")),
           result="certificate-not-trusted"),
    broken("policy-expired", STS_CERT + "Expired: the certificate expired at … (CN=mx.contoso.test)",
           host=Host(tlsa=(), cert=web(wish=EXPIRED)), result="certificate-expired"),
    broken("policy-not-yet-valid", STS_CERT + "NotYetValid: the certificate is not valid before … (CN=mx.contoso.test)",
           host=Host(tlsa=(), cert=web(wish=from_tomorrow())),
           result="validation-failure"),
    broken("policy-wrong-name", STS_CERT + "SubjectMismatch: the certificate is for elsewhere.test, not for mx.contoso.test",
           host=Host(tlsa=(), cert=web("elsewhere.test")),
           result="certificate-host-mismatch"),
    broken("policy-name-of-the-domain",
           STS_CERT + "SubjectMismatch: the certificate is for contoso.test, not for mx.contoso.test",
           host=Host(tlsa=(), cert=web("contoso.test")),
           result="certificate-host-mismatch"),
    broken("policy-common-name-only", STS_CERT + "SubjectMismatch: the certificate is for no DNS name, not for mx.contoso.test",
           host=Host(tlsa=(), cert=web(wish=COMMON_NAME_ONLY)),
           result="certificate-host-mismatch"),
    broken("policy-no-starttls", "held 450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive "
           "mail: STARTTLS is not offered", host=Host(tlsa=(), servers=(PLAIN,)), result="starttls-not-supported"),
    Scenario(name="policy-certificate-by-wildcard", rows="sts-enforce", zone=Signing.UNSIGNED, policy=Policy(),
             hosts=(Host(tlsa=(), cert=web("*.contoso.test", sent="leaf root ca")),), opportunistic=STS_OK,
             sts_mandatory=STS_OK),
    Scenario(name="policy-names-the-second-mx", rows="sts-enforce sts-enforce-mismatch", zone=Signing.UNSIGNED,
             mx=("10 mx.contoso.test.", "20 mx2.contoso.test."), policy=Policy(("mx2.contoso.test",)),
             hosts=(GOOD_HOST, Host("mx2.contoso.test", (), web())),
             opportunistic="delivered mta-sts via mx2.contoso.test, after mx.contoso.test 4.4.8 sts-mx-mismatch"
             + report("validation-failure"), sts_none=TLS_OK),
)  # fmt: skip

TESTING = f"{STS_REQUIRED}the policy's mode is testing"
ABSENT = f"{STS_REQUIRED}contoso.test publishes no MTA-STS policy"
OTHER_MODES = (
    published("sts-absent", TLS_OK, rows="sts-absent", policy=None, mandatory=ABSENT),
    published("sts-of-other-text", TLS_OK, rows="sts-absent", policy=Policy(txt=("v=spf1 -all",)), mandatory=ABSENT),
    published("sts-testing-good", TLS_OK, rows="sts-testing", policy=Policy(mode="testing"), mandatory=TESTING),
    published("sts-testing-self-signed", TLS_OK + report("certificate-not-trusted"), rows="sts-testing", host=SELF_SIGNED,
              policy=Policy(mode="testing"), mandatory=TESTING),
    published("sts-testing-mismatch", TLS_OK + report("validation-failure"), rows="sts-testing",
              policy=Policy(("elsewhere.test",), "testing"), mandatory=TESTING),
    published("sts-testing-no-starttls", PLAIN_OK + report("starttls-not-supported"), rows="sts-testing",
              host=Host(tlsa=(), servers=(PLAIN,)), policy=Policy(mode="testing"), mandatory=TESTING, none=PLAIN_OK),
    published("sts-none", TLS_OK, rows="sts-none", host=SELF_SIGNED, policy=Policy(mode="none"),
              mandatory=f"{STS_REQUIRED}the policy's mode is none"),
    published("sts-none-without-mx", TLS_OK, rows="sts-none", host=SELF_SIGNED, policy=Policy((), "none"),
              mandatory=f"{STS_REQUIRED}the policy's mode is none"),
)  # fmt: skip


def txt(name: str, why: str, *records: str) -> Scenario:
    """Records that name a policy in no valid way."""
    return published(name, TLS_OK, rows="sts-txt-invalid", policy=Policy(txt=records), mandatory=f"{STS_REQUIRED}{why}")


def unfetched(name: str, why: str, *, slow: bool = False, row: str = "sts-fetch-error", **more: object) -> Scenario:
    """A policy that cannot be had."""
    result = "sts-webpki-invalid" if row == "sts-webpki-invalid" else "sts-policy-fetch-error"
    return published(name, TLS_OK + report(result), rows=row, slow=slow, policy=Policy(**more),  # type: ignore[arg-type]
                     host=SELF_SIGNED, mandatory=f"{STS_FETCH}{why}{report(result)}")  # fmt: skip


def uncertified(name: str, why: str, certificate: Certificate) -> Scenario:
    """A policy host that cannot prove its name."""
    why = f"The certificate of the policy host mta-sts.contoso.test does not hold: {why}."
    return unfetched(name, why, row="sts-webpki-invalid", certificate=certificate)


def malformed(name: str, why: str, text: str) -> Scenario:
    """A policy file that is none."""
    result = report("sts-policy-invalid")
    return published(name, TLS_OK + result, rows="sts-policy-invalid", policy=Policy(text=text), host=SELF_SIGNED,
                     mandatory=f"{STS_REQUIRED}{why}{result}")  # fmt: skip


WEB = "The policy host mta-sts.contoso.test"
NOT_FOR_HOST = "Hostname mismatch, certificate is not valid for 'mta-sts.contoso.test'"
NO_POLICY = (
    txt("txt-twice", "2 records begin with v=STSv1; there must be exactly one", "v=STSv1; id=1;", "v=STSv1; id=2;"),
    txt("txt-without-id", "the record has no id field", "v=STSv1;"),
    txt("txt-bad-id", "the id 'not-a-letter' is not 1 to 32 letters and digits", "v=STSv1; id=not-a-letter;"),
    txt("txt-no-delimiter", "v=STSv1 must be followed by a semicolon, not by ' id=1'", "v=STSv1 id=1"),
    malformed("policy-without-max-age", "The policy has no max_age field.", ENFORCE.partition("max_age")[0]),
    malformed("policy-without-mx", "The policy has no mx field; mode enforce needs at least one.", policy_text()),
    malformed("policy-unknown-version", "Line 1: the version 'STSv2' is not STSv1.", ENFORCE.replace("STSv1", "STSv2")),
    malformed("policy-unknown-mode", "Line 2: the mode 'enforced' is none of enforce, testing and none.",
              ENFORCE.replace("enforce", "enforced")),
    malformed("policy-max-age-too-large", "Line 4: max_age 31557601 is above the maximum of 31557600 seconds.",
              ENFORCE.replace("604800", "31557601")),
    malformed("policy-host-in-unicode",
              "Line 3: the mx 'mx.b\\xfccher.contoso.test' is not in ASCII; international names are written as A-labels "
              "(xn--...).", ENFORCE.replace("mx.contoso.test", "mx.bücher.contoso.test")),
    malformed("policy-is-a-page", "Line 1: '<html>Welcome</html>' is not a field; fields are written name: value.",
              "<html>Welcome</html>"),
    unfetched("policy-not-found", f"{WEB} answered with HTTP status 404 instead of 200.", behaviour=Behaviour.NOT_FOUND),
    unfetched("policy-host-fails", f"{WEB} answered with HTTP status 503 instead of 200.", behaviour=Behaviour.SERVER_ERROR),
    unfetched("policy-redirect", f"{WEB} answered with HTTP status 301; redirects are not followed.",
              behaviour=Behaviour.REDIRECT),
    unfetched("policy-oversize", f"{WEB} sent more than 65536 octets.", behaviour=Behaviour.OVERSIZE),
    unfetched("policy-endless", f"{WEB} sent more than 65536 octets.", behaviour=Behaviour.ENDLESS),
    unfetched("policy-html", f"{WEB} serves the policy as text/html instead of text/plain.", behaviour=Behaviour.HTML),
    unfetched("policy-without-type", f"{WEB} serves the policy as no media type instead of text/plain.",
              behaviour=Behaviour.NO_TYPE),
    unfetched("policy-compressed", f"{WEB} serves the policy in the content coding gzip, which was not asked for.",
              behaviour=Behaviour.GZIP),
    unfetched("policy-cut-short", "The policy could not be fetched from mta-sts.contoso.test: peer closed connection without "
              "sending complete message body (received 56 bytes, expected 66).", behaviour=Behaviour.CUT_SHORT),
    unfetched("policy-without-length", f"{WEB} does not say where the policy ends (neither Content-Length nor chunked).",
              behaviour=Behaviour.UNTIL_CLOSE),
    unfetched("policy-host-speaks-smtp",
              "The policy could not be fetched from mta-sts.contoso.test: Server disconnected without sending a response.",
              behaviour=Behaviour.NOT_HTTP),
    unfetched("policy-host-hangs", f"{WEB} did not answer in full within 2 s.", slow=True, behaviour=Behaviour.HANG),
    unfetched("policy-host-drips", f"{WEB} did not answer in full within 2 s.", slow=True, behaviour=Behaviour.DRIP),
    uncertified("policy-host-self-signed", "self-signed certificate", Certificate.SELF_SIGNED),
    uncertified("policy-host-of-a-private-authority", "unable to get local issuer certificate", Certificate.UNKNOWN_CA),
    uncertified("policy-host-wrong-name", NOT_FOR_HOST, Certificate.WRONG_NAME),
    uncertified("policy-host-expired", "certificate has expired", Certificate.EXPIRED),
    uncertified("policy-host-not-yet-valid", "certificate is not yet valid", Certificate.NOT_YET_VALID),
    uncertified("policy-host-common-name-only", NOT_FOR_HOST, Certificate.NAME_IN_SUBJECT_ONLY),
    Scenario(name="policy-host-without-address", rows="sts-fetch-error", zone=Signing.UNSIGNED, hosts=(SELF_SIGNED,),
             records=('_mta-sts.contoso.test TXT "v=STSv1; id=1;"',), opportunistic=TLS_OK + FETCH,
             sts_mandatory=f"{STS_FETCH}The policy host mta-sts.contoso.test has no address.; TLS report: "
             f"sts-policy-fetch-error"),
    Scenario(name="policy-host-address-bogus", rows="sts-fetch-error", hosts=(SELF_SIGNED,), policy=Policy(),
             spoil=("mta-sts.contoso.test A", "mta-sts.contoso.test NSEC"), opportunistic=TLS_OK + FETCH,
             sts_mandatory=f"{STS_FETCH}The address of the policy host mta-sts.contoso.test is not known: A is bogus "
             f"(validation failure <mta-sts.contoso.test. A IN>: ECDSA signature verification failed).; TLS report: "
             f"sts-policy-fetch-error"),
    Scenario(name="txt-servfail", rows="sts-dns-unknown", zone=Signing.UNSIGNED, hosts=(SELF_SIGNED,),
             faults={"_mta-sts.contoso.test": Fault.SERVFAIL}, opportunistic=TLS_OK + FETCH, sts_none=TLS_OK,
             sts_mandatory=f"{STS_FETCH}DNS gave no answer for _mta-sts.contoso.test (unknown): {NO_ANSWER}; TLS report: "
             f"sts-policy-fetch-error"),
    Scenario(name="txt-bogus", rows="sts-dns-unknown", hosts=(GOOD_HOST,), policy=Policy(),
             spoil=("_mta-sts.contoso.test TXT",),
             opportunistic=TLS_OK + FETCH, sts_none=TLS_OK,
             sts_mandatory=f"{STS_FETCH}DNS gave no answer for _mta-sts.contoso.test (bogus): validation failure "
             f"<_mta-sts.contoso.test. TXT IN>: ECDSA signature verification failed; TLS report: sts-policy-fetch-error"),
)  # fmt: skip

CACHED = "sts-enforce sts-cached"
MISMATCHED = policy_text("mx.fabrikam.test")
CACHE = (
    published("cached-and-txt-gone", STS_OK, rows=CACHED, policy=None, cached=ENFORCE, mandatory=STS_OK),
    published("cached-and-txt-gone-mismatch", f"{STS_MX}mx.contoso.test is not among: mx.fabrikam.test"
              + report("validation-failure"), rows="sts-enforce-mismatch sts-cached", policy=None, cached=MISMATCHED,
              mandatory=f"{STS_MX}mx.contoso.test is not among: mx.fabrikam.test" + report("validation-failure")),
    published("cached-and-txt-malformed", STS_OK, rows=CACHED, policy=Policy(txt=("v=STSv1;",)), cached=ENFORCE,
              mandatory=STS_OK),
    published("cached-and-txt-twice", STS_OK, rows=CACHED, policy=Policy(txt=("v=STSv1; id=1;", "v=STSv1; id=2;")),
              cached=ENFORCE, mandatory=STS_OK),
    published("cached-and-fetch-fails", STS_OK, rows=CACHED, policy=Policy(behaviour=Behaviour.NOT_FOUND), cached=ENFORCE,
              mandatory=STS_OK),
    published("cached-and-policy-host-invalid", STS_OK, rows=CACHED, policy=Policy(certificate=Certificate.EXPIRED),
              cached=ENFORCE, mandatory=STS_OK),
    published("cached-and-new-policy-malformed", STS_OK, rows=CACHED, policy=Policy(text="mode: none\r\n"), cached=ENFORCE,
              mandatory=STS_OK),
    published("cached-and-replaced-by-none", TLS_OK, rows="sts-none", policy=Policy(mode="none"), cached=MISMATCHED,
              mandatory=f"{STS_REQUIRED}the policy's mode is none"),
    published("cached-and-replaced-by-a-better-one", STS_OK, rows="sts-enforce", policy=Policy(), cached=MISMATCHED,
              mandatory=STS_OK),
    published("cached-of-the-same-id", STS_OK, rows="sts-enforce", policy=Policy(("elsewhere.test",), txt=("v=STSv1; id=0;",)),
              cached=ENFORCE, mandatory=STS_OK),
    Scenario(name="cached-and-txt-servfail", rows=CACHED, zone=Signing.UNSIGNED, hosts=(GOOD_HOST,), cached=ENFORCE,
             faults={"_mta-sts.contoso.test": Fault.SERVFAIL}, opportunistic=STS_OK, sts_mandatory=STS_OK),
    Scenario(name="cached-and-txt-bogus", rows=CACHED, hosts=(GOOD_HOST,), policy=Policy(), cached=ENFORCE,
             spoil=("_mta-sts.contoso.test TXT",), opportunistic=STS_OK, sts_mandatory=STS_OK),
)  # fmt: skip

BOTH = (D.MANDATORY, S.MANDATORY)
WRONG = ("3 1 1 wrong",)
UNTRUSTED = report("certificate-not-trusted")
TOGETHER = (
    Scenario(name="both-good", rows="dane-usable sts-enforce dane-over-sts", hosts=(Host(cert=web()),), policy=Policy(),
             both=DANE_OK, none=STS_OK, report_only=DANE_OK, sts_mandatory=DANE_OK, sts_none=DANE_OK,
             pairs={BOTH: DANE_OK, (D.NONE, S.NONE): TLS_OK, (D.MANDATORY, S.NONE): DANE_OK, (D.NONE, S.MANDATORY): STS_OK,
                    (D.REPORT_ONLY, S.REPORT_ONLY): DANE_OK}),
    Scenario(name="both-off", rows="mx-found dane-off sts-off", pairs={(D.NONE, S.NONE): TLS_OK}),
    Scenario(name="dane-good-sts-fails", rows="dane-usable sts-enforce dane-over-sts", policy=Policy(),
             both=DANE_OK + UNTRUSTED,
             none=f"{STS_CERT}UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test){UNTRUSTED}",
             sts_mandatory=f"{STS_CERT}UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test){UNTRUSTED}",
             sts_none=DANE_OK, pairs={BOTH: f"{STS_CERT}UntrustedRoot: the certificate is self-signed "
             f"(CN=mx.contoso.test){UNTRUSTED}"}),
    Scenario(name="dane-good-sts-mismatch", rows="dane-usable sts-enforce-mismatch dane-over-sts",
             policy=Policy(("elsewhere.test",)),
             hosts=(Host(cert=web()),), opportunistic=DANE_OK + report("validation-failure"),
             none=f"{STS_MX}mx.contoso.test is not among: elsewhere.test; TLS report: validation-failure",
             sts_mandatory=f"{STS_MX}mx.contoso.test is not among: elsewhere.test; TLS report: validation-failure",
             sts_none=DANE_OK),
    Scenario(name="dane-fails-sts-good", rows="dane-usable sts-enforce", hosts=(Host(tlsa=WRONG, cert=web()),), policy=Policy(),
             both=WRONG_KEY, none=STS_OK, sts_mandatory=WRONG_KEY,
             report_only=STS_OK + report("validation-failure")),
    Scenario(name="dane-unusable-sts-good", rows="dane-unusable sts-enforce", hosts=(Host(tlsa=("1 1 1",), cert=web()),),
             policy=Policy(), opportunistic=STS_OK,
             mandatory=f"{REQUIRED}no TLSA record of mx.contoso.test is usable for SMTP; TLS report: dane-required",
             sts_mandatory=STS_OK),
    Scenario(name="dane-unusable-sts-fails", rows="dane-unusable sts-enforce", hosts=(Host(tlsa=("1 1 1",)),), policy=Policy(),
             opportunistic=f"{STS_CERT}UntrustedRoot: the certificate is self-signed (CN=mx.contoso.test){UNTRUSTED}",
             sts_none=TLS_OK),
    Scenario(name="dane-unusable-sts-mismatch", rows="dane-unusable sts-enforce-mismatch",
             hosts=(Host(tlsa=("1 1 1",), cert=web()),),
             policy=Policy(("elsewhere.test",)),
             opportunistic=f"{STS_MX}mx.contoso.test is not among: elsewhere.test; TLS report: validation-failure",
             sts_none=TLS_OK),
    Scenario(name="dane-unknown-sts-good", rows="dane-tlsa-unknown sts-enforce", hosts=(GOOD_HOST,), policy=Policy(),
             faults={"_tcp.mx.contoso.test": Fault.SERVFAIL}, both=TLSA_UNKNOWN,
             none=STS_OK, sts_mandatory=TLSA_UNKNOWN, report_only=STS_OK + report("dnssec-invalid")),
    Scenario(name="dane-absent-sts-good", rows="dane-absent sts-enforce", hosts=(GOOD_HOST,), policy=Policy(),
             opportunistic=STS_OK, mandatory=NO_RECORD, sts_mandatory=STS_OK, pairs={BOTH: NO_RECORD}),
    Scenario(name="dane-absent-sts-absent", rows="dane-absent sts-absent", hosts=(GOOD_HOST,), opportunistic=TLS_OK,
             mandatory=NO_RECORD, sts_mandatory=ABSENT, pairs={BOTH: NO_RECORD, (D.NONE, S.NONE): TLS_OK}),
    Scenario(name="dane-good-sts-absent", rows="dane-usable sts-absent", both=DANE_OK,
             sts_mandatory=ABSENT, pairs={BOTH: ABSENT}),
    Scenario(name="dane-good-sts-testing", rows="dane-usable sts-testing", policy=Policy(mode="testing"),
             both=DANE_OK + UNTRUSTED, sts_mandatory=TESTING),
    Scenario(name="dane-good-sts-not-fetched", rows="dane-usable sts-fetch-error", policy=Policy(behaviour=Behaviour.NOT_FOUND),
             both=DANE_OK + FETCH,
             sts_mandatory=f"{STS_FETCH}The policy host mta-sts.contoso.test answered with HTTP status 404 instead of 200.; "
             f"TLS report: sts-policy-fetch-error"),
)  # fmt: skip

SCENARIOS = (*POLICIES, *OTHER_MODES, *NO_POLICY, *CACHE, *TOGETHER)
lab = world_of(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_scenario(lab: Lab, scenario: Scenario) -> None:
    assert await lab.lines(scenario) == scenario.lines
