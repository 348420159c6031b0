"""Scenarios of DANE: every certificate usage, selector and matching type against what servers really present."""

from __future__ import annotations

import pytest

from simnet.pki import Wish
from tests.real.scenario import (
    DANE_OK,
    EXPIRED,
    NAME,
    NO_STARTTLS,
    PLAIN,
    REQUIRED,
    TLS_OK,
    TLSA_INVALID,
    Host,
    Scenario,
    report,
)
from tests.real.scenario_certs import (
    CLIENT_ONLY,
    COMMON_NAME_ONLY,
    Certify,
    alone,
    below_a_server,
    below_root,
    forged,
    from_tomorrow,
    private,
    too_deep,
    under_expired_ca,
    under_expired_root,
    web,
    with_strangers,
)
from tests.real.scenario_certs import EXPIRED as OVER
from tests.real.scenario_lab import Lab, world_of

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

REPORTS = {TLSA_INVALID: "validation-failure", EXPIRED: "certificate-expired", NAME: "certificate-host-mismatch"}
NO_STARTTLS_LINE = f"{NO_STARTTLS}STARTTLS is not offered{report('starttls-not-supported')}"
NOT_THE_KEY = "TLSA 3 1 1 …: it is not the digest or value of the server's key"
NOT_SENT = "no certificate in the presented chain, above the server's own, is the anchor it names"
NO_ISSUER = "the anchor it names did not issue the server's certificate, nor a certificate above it"


def match(name: str, *tlsa: str, cert: Certify | None = None, host: str = "mx.contoso.test") -> Scenario:
    """The records match what the server presents."""
    line = DANE_OK.replace("mx.contoso.test", host)
    return Scenario(name=name, rows="dane-usable", mx=(f"10 {host}.",), hosts=(Host(host, tlsa, cert or alone()),),
                    both=line)  # fmt: skip


def fail(name: str, *tlsa: str, why: str, reason: str = TLSA_INVALID, cert: Certify | None = None,
         host: str = "mx.contoso.test") -> Scenario:  # fmt: skip
    """They do not: held under both modes, with the same words; delivered all the same where DANE is not looked at."""
    line = f"{reason}{why}{report(REPORTS[reason])}"
    return Scenario(name=name, rows="dane-usable", mx=(f"10 {host}.",), hosts=(Host(host, tlsa, cert or alone()),),
                    both=line, none=TLS_OK.replace("mx.contoso.test", host))  # fmt: skip


def unusable(name: str, *tlsa: str) -> Scenario:
    """No record can be used: TLS without authentication, and no DANE for whoever requires it."""
    return Scenario(name=name, rows="dane-unusable", hosts=(Host(tlsa=tlsa),), opportunistic=TLS_OK, report_only=TLS_OK,
                    mandatory=f"{REQUIRED}no TLSA record of mx.contoso.test is usable for SMTP{report('dane-required')}",
                    none=TLS_OK)  # fmt: skip


END_ENTITY = (
    *(match(f"ee-3-{selector}-{matching}", f"3 {selector} {matching}") for selector in (0, 1) for matching in (0, 1, 2)),
    match("ee-expired", "3 1 1", cert=alone(wish=OVER)),
    match("ee-not-yet-valid", "3 0 1", cert=alone(wish=from_tomorrow())),
    match("ee-other-name", "3 1 1", cert=alone("elsewhere.test")),
    match("ee-no-name", "3 1 1", cert=alone(wish=Wish(san=False, subject=""))),
    match("ee-not-for-servers", "3 1 1", cert=alone(wish=CLIENT_ONLY)),
    match("ee-below-expired-ca", "3 1 1", cert=under_expired_ca),
    match("ee-forged", "3 1 1", cert=forged),
    match("ee-chain-out-of-order", "3 0 2", cert=private(sent="leaf root ca")),
    match("ee-of-the-web-pki", "3 1 1", cert=web()),
    match("ee-roll-over", "3 1 1 wrong", "3 1 1"),
    match("ee-beside-wrong-ta", "2 1 1 wrong", "3 1 1"),
    match("ee-beside-unusable", "1 1 1 wrong", "3 1 9", "3 1 1 =abcd", "3 1 1"),
    fail("ee-wrong", "3 1 1 wrong", why=NOT_THE_KEY),
    fail("ee-wrong-although-web-pki", "3 1 1 wrong", cert=web(), why=NOT_THE_KEY),
    fail("ee-wrong-beside-unusable", "1 1 1", "3 1 1 wrong", why=f"{NOT_THE_KEY} (and 1 more did not match)"),
    fail(
        "ee-names-the-authority",
        "3 1 1 ca",
        cert=private(),
        why=f"{NOT_THE_KEY}, but certificate 1 of the chain, for which usage 2 would be right",
    ),
    fail(
        "ee-certificate-digest-of-a-key",
        "3 0 1 =" + "0f" * 32,
        why="TLSA 3 0 1 …: it is not the digest or value of the server's certificate",
    ),
)

TRUST_ANCHOR = (
    *(match(f"ta-2-{selector}-{matching}", f"2 {selector} {matching} ca", cert=private())
      for selector in (0, 1) for matching in (0, 1, 2)),
    match("ta-root-sent", "2 0 1 root", cert=private(sent="leaf ca root")),
    match("ta-of-the-web-pki", "2 1 1 ca", cert=web()),
    match("ta-chain-out-of-order", "2 0 1 root", cert=private(sent="leaf root ca")),
    match("ta-extra-certificates", "2 1 1 root", cert=with_strangers),
    match("ta-certificate-in-the-record", "2 0 0 root", cert=private(sent="leaf ca")),
    match("ta-key-in-the-record", "2 1 0 root", cert=private(sent="leaf ca")),
    match("ta-key-in-the-record-right-above", "2 1 0 ca", cert=below_root()),
    match("ta-certificate-in-the-record-right-above", "2 0 0 ca", cert=private(sent="leaf")),
    match("ta-beside-wrong-ee", "3 1 1 wrong", "2 1 1 ca", cert=private()),
    match("ta-anchor-below-an-expired-root", "2 1 1 ca", cert=under_expired_root),
    fail("ta-expired-root", "2 0 1 root", cert=under_expired_root,
         why="TLSA 2 0 1 …: the certificate expired at … (CN=Private Root of old)", reason=EXPIRED),
    fail("ta-root-not-sent", "2 0 1 root", cert=private(), why=f"TLSA 2 0 1 …: {NOT_SENT}"),
    fail("ta-key-of-root-not-sent", "2 1 1 root", cert=private(), why=f"TLSA 2 1 1 …: {NOT_SENT}"),
    fail("ta-intermediate-missing", "2 0 1 root", cert=private(sent="leaf root"), why=f"TLSA 2 0 1 …: {NO_ISSUER}"),
    fail("ta-in-the-record-intermediate-missing", "2 0 0 root", cert=private(sent="leaf"), why=f"TLSA 2 0 0 …: {NO_ISSUER}"),
    fail("ta-names-the-leaf", "2 1 1", cert=private(),
         why="TLSA 2 1 1 …: it names the server's own certificate, for which usage 3 would be right"),
    fail("ta-wrong", "2 0 1 wrong", cert=private(), why=f"TLSA 2 0 1 …: {NOT_SENT}"),
    fail("ta-expired", "2 1 1 ca", cert=private(wish=OVER),
         why="TLSA 2 1 1 …: the certificate expired at … (CN=mx.contoso.test)", reason=EXPIRED),
    fail("ta-expired-authority", "2 1 1 ca", cert=under_expired_ca,
         why="TLSA 2 1 1 …: the certificate expired at … (CN=Private Issuing of old)", reason=EXPIRED),
    fail("ta-expired-below-root", "2 0 1 root", cert=under_expired_ca,
         why="TLSA 2 0 1 …: the certificate expired at … (CN=Private Issuing of old)", reason=EXPIRED),
    fail("ta-not-yet-valid", "2 1 1 ca", cert=private(wish=from_tomorrow()),
         why="TLSA 2 1 1 …: the certificate is not valid before … (CN=mx.contoso.test)"),
    fail("ta-path-too-long", "2 0 1 root", cert=too_deep,
         why="TLSA 2 0 1 …: it allows fewer authorities below it than there are (path length) (CN=Private Root of one level)"),
    fail("ta-not-for-servers", "2 1 1 ca", cert=private(wish=CLIENT_ONLY),
         why="TLSA 2 1 1 …: its extended key usage does not allow TLS servers (CN=mx.contoso.test)"),
    fail("ta-issuer-is-no-authority", "2 1 1 ca", cert=below_a_server,
         why="TLSA 2 1 1 …: its key usage does not allow it to sign certificates (CN=server.test)"),
    fail("ta-forged", "2 1 1 ca", cert=forged,
         why="TLSA 2 1 1 …: its signature was not made by its issuer (CN=mx.contoso.test)"),
)  # fmt: skip

NAMES = (
    match("name-of-the-domain", "2 1 1 ca", cert=private("contoso.test")),
    match("name-by-wildcard", "2 1 1 ca", cert=private("*.contoso.test")),
    match("name-in-the-common-name-only", "2 1 1 ca", cert=private(wish=COMMON_NAME_ONLY)),
    match("name-among-many", "2 1 1 ca", cert=private("a.test", "b.test", "MX.Contoso.TEST".lower())),
    match("name-of-an-international-host", "2 1 1 ca", cert=private(), host="mx.xn--bcher-kva.contoso.test"),
    match("name-of-an-international-host-by-wildcard", "2 1 1 ca", cert=private("*.xn--bcher-kva.contoso.test"),
          host="mx.xn--bcher-kva.contoso.test"),
    fail("name-of-another", "2 1 1 ca", cert=private("elsewhere.test"),
         why="TLSA 2 1 1 …: the certificate is for elsewhere.test, not for mx.contoso.test or contoso.test", reason=NAME),
    fail("name-by-wildcard-two-labels-up", "2 1 1 ca", cert=private("*.contoso.test"), host="mx.eu.contoso.test",
         why="TLSA 2 1 1 …: the certificate is for *.contoso.test, not for mx.eu.contoso.test or contoso.test", reason=NAME),
    fail("name-by-wildcard-in-a-label", "2 1 1 ca", cert=private("m*.contoso.test"),
         why="TLSA 2 1 1 …: the certificate is for m*.contoso.test, not for mx.contoso.test or contoso.test", reason=NAME),
    fail("name-common-name-beside-another", "2 1 1 ca", cert=private("elsewhere.test", wish=Wish(subject="mx.contoso.test")),
         why="TLSA 2 1 1 …: the certificate is for elsewhere.test, not for mx.contoso.test or contoso.test", reason=NAME),
    fail("name-and-expired", "2 1 1 ca", cert=private("elsewhere.test", wish=OVER),
         why="TLSA 2 1 1 …: the certificate expired at … (CN=elsewhere.test)", reason=EXPIRED),
)  # fmt: skip

AGILITY = (
    match("agility-both-match", "3 1 1", "3 1 2"),
    match("agility-strong-matches-weak-does-not", "3 1 1 wrong", "3 1 2"),
    match("agility-other-selector", "3 0 2 wrong", "3 1 1"),
    match("agility-full-value-always-counts", "3 1 2 wrong", "3 1 0"),
    match("agility-malformed-strong-does-not-count", "3 1 2 =abcd", "3 1 1"),
    match("agility-other-usage", "2 1 2 wrong", "3 1 1"),
    fail(
        "agility-weak-matches-strong-does-not",
        "3 1 1",
        "3 1 2 wrong",
        why="TLSA 3 1 2 …: it is not the digest or value of the server's key (and 1 more did not match)",
    ),
    fail(
        "agility-of-anchors",
        "2 1 1 ca",
        "2 1 2 wrong",
        cert=private(),
        why=f"TLSA 2 1 2 …: {NOT_SENT} (and 1 more did not match)",
    ),
)

UNUSABLE = (
    unusable("usage-0", "0 1 1"),
    unusable("usage-1", "1 1 1"),
    unusable("usages-0-and-1", "0 0 1 wrong", "1 1 1"),
    unusable("usage-unknown", "4 1 1"),
    unusable("selector-unknown", "3 2 1"),
    unusable("matching-unknown", "3 1 9"),
    unusable("digest-too-short", "3 1 1 =abcd"),
    unusable("digest-too-long", "3 1 1 =" + "ab" * 64),
    unusable("digest-empty", "3 1 1 ="),
    unusable("full-value-empty", "3 1 0 ="),
    unusable("full-value-is-no-key", "3 1 0 =" + "ab" * 90),
    unusable("full-value-very-large", "3 0 0 =" + "ab" * 60_000),
    Scenario(name="unusable-and-no-starttls", rows="dane-unusable", hosts=(Host(tlsa=("1 1 1",), servers=(PLAIN,)),),
             opportunistic=NO_STARTTLS_LINE, none="delivered plain via mx.contoso.test",
             mandatory=f"{REQUIRED}no TLSA record of mx.contoso.test is usable for SMTP{report('dane-required')}",
             report_only=f"delivered plain via mx.contoso.test{report('starttls-not-supported')}"),
)  # fmt: skip

SCENARIOS = (*END_ENTITY, *TRUST_ANCHOR, *NAMES, *AGILITY, *UNUSABLE)
lab = world_of(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_scenario(lab: Lab, scenario: Scenario) -> None:
    assert await lab.lines(scenario) == scenario.lines
