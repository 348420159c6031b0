"""The analyzer's pure parts: advice that is right, changes, explanations, comparison, and a report that nothing can break out of."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sealroute.base.dnsdata import Answer, Outcome, Security
from sealroute.base.dnssec import Delegation, Key, Signature, SignedAnswer, ZoneLink
from sealroute.base.errors import OperatorError
from sealroute.faces.analysis_html import page
from sealroute.faces.analysis_words import Report, todos
from sealroute.policy.decide import decide
from sealroute.policy.evidence import Hop, HopKind
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.policy.reasons import Reason
from sealroute.ports import CachedPolicy
from sealroute.proto.dane.records import parse
from sealroute.proto.dane.verify import DaneVerdict, verify
from sealroute.proto.mtasts.policy import StsMode, StsPolicy, parse_policy
from sealroute.proto.mtasts.txt import TxtStatus, parse_txt
from sealroute.proto.tlsrpt.txt import RptStatus
from sealroute.proto.tlsrpt.txt import parse_txt as parse_rpt
from sealroute.services.analysis.advice import rpt_txt, sts_policy, sts_txt, tlsa
from sealroute.services.analysis.changes import changes
from sealroute.services.analysis.dnssec import dnssec_check
from sealroute.services.analysis.model import Analysis, Check, Publish, Seen, Status, Whose, Would, few
from sealroute.services.analysis.model import Outcome as Ours
from sealroute.services.analysis.record import analysis_record
from sealroute.services.analysis.reference import reference_markdown
from sealroute.services.compare_resolvers import Compared
from sealroute.services.explain import CAUSES, explain
from sealroute.services.sts_caches import OnlyRead
from sealroute.settings import Settings
from sealroute.settings.hurry import hurried
from simnet.pki import self_signed
from tests.unit import evidence_factory as make
from tests.unit.cli_world import mismatch_attempt

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


# --------------------------------------------------------------------------------------------------------------- advice


def record_of(publish: Publish) -> tuple[str, str]:
    """(owner, rdata) of the one record."""
    (line,) = publish.lines
    owner, _in, _type, rdata = line.split(maxsplit=3)
    return owner, rdata


def test_the_tlsa_record_advised_matches_the_certificate_presented() -> None:
    chain = tuple(self_signed("mx.contoso.com").chain())
    owner, rdata = record_of(tlsa("mx.contoso.com", 25, chain))
    assert owner == "_25._tcp.mx.contoso.com."
    assert verify(chain, [parse(rdata)], ("mx.contoso.com",), NOW).verdict is DaneVerdict.MATCH
    assert rdata.startswith("3 1 1 ")


def test_a_certificate_that_cannot_be_read_is_named_whole() -> None:
    _, rdata = record_of(tlsa("mx.contoso.com", 25, (b"no certificate",)))
    assert rdata.startswith("3 0 1 ")
    assert verify((b"no certificate",), [parse(rdata)], (), NOW).verdict is DaneVerdict.MATCH


def test_the_policy_and_records_advised_are_read_as_meant() -> None:
    hosts = ("mx1.contoso.com", "mx2.contoso.com", "mx1.contoso.com")
    policy = parse_policy("\n".join(sts_policy("contoso.com", StsMode.TESTING, hosts).lines))
    assert isinstance(policy, StsPolicy)
    assert policy.mode is StsMode.TESTING
    assert policy.mx == ("mx1.contoso.com", "mx2.contoso.com")
    _, txt = record_of(sts_txt("contoso.com", NOW))
    assert parse_txt([txt.strip('"')]).status is TxtStatus.OK
    assert parse_txt([txt.strip('"')]).id == "20261122120000"
    owner, rpt = record_of(rpt_txt("contoso.com"))
    assert owner == "_smtp._tls.contoso.com."
    assert parse_rpt([rpt.strip('"')]).status is RptStatus.OK


# ------------------------------------------------------------------------------------------------------------- explain


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_by_keyword_and_by_its_own_sentences(reason: Reason) -> None:
    (found,) = explain(reason.value)
    assert found.reason is reason
    assert found.cause == CAUSES[reason]
    for shown in (found.queued, found.returned):
        if shown and reason.facts.enhanced.detail:
            assert reason in [item.reason for item in explain(shown)]


@pytest.mark.parametrize(
    ("asked", "reasons"),
    [
        ("323", [Reason.TLSA_INVALID]),
        ("5.7.323", [Reason.TLSA_INVALID]),
        ("450 4.7.323 tlsa-invalid: The domain failed", [Reason.TLSA_INVALID]),
        ("4.7.324", [Reason.DNSSEC_INVALID, Reason.RESOLVER_CANNOT_VALIDATE]),
        ("450 4.7.324 resolver-cannot-validate: Our", [Reason.RESOLVER_CANNOT_VALIDATE]),
        ("5.4.8", [Reason.STS_MX_MISMATCH]),
        ("5.7.5", [Reason.STS_CERTIFICATE]),
        ("4.7.320", [Reason.TLS_CERTIFICATE]),
        ("4.4.317", [Reason.TLS_REQUIRED, Reason.TLS_DOMAIN_MISMATCH]),
        ("4.4.312", [Reason.DNS_FAILED, Reason.NO_ADDRESS, Reason.ADDRESS_NOT_ALLOWED]),
        ("4.4.315", [Reason.CONNECT_TIMEOUT]),
        ("4.4.316", [Reason.CONNECT_REFUSED]),
        ("4.4.318", [Reason.CONNECTION_LOST]),
        ("550 4.4.7", [Reason.MESSAGE_EXPIRED]),
        ("5.4.300", [Reason.MESSAGE_EXPIRED]),
        ("5.4.14", [Reason.ROUTING_LOOP]),
        ("326", [Reason.DANE_REQUIRED]),
        ("327", [Reason.STS_POLICY_FETCH_ERROR]),
        ("328", [Reason.STS_REQUIRED]),
        ("TLSA-Invalid", [Reason.TLSA_INVALID]),
    ],
)
def test_codes_of_the_field(asked: str, reasons: list[Reason]) -> None:
    assert [item.reason for item in explain(asked)] == reasons


def test_what_is_no_code_is_refused_with_a_hint() -> None:
    with pytest.raises(OperatorError, match="Did you mean tlsa-invalid"):
        explain("tlsa-invald")
    with pytest.raises(OperatorError, match="no reason has the code"):
        explain("0")


# ------------------------------------------------------------------------------------------------------------- changes


def test_nothing_changed_when_only_order_and_times_differ() -> None:
    then, now = mismatch_attempt(), mismatch_attempt(4)
    mx = now["evidence"]["hops"][0]["mx"]
    mx["records"] = list(reversed(mx["records"]))
    mx["ttl_seconds"] = 1
    assert changes([then], [now]) == ()


def test_what_changed_is_told_with_then_and_now() -> None:
    then, now = mismatch_attempt(), mismatch_attempt()
    now["evidence"]["hops"][0]["hosts"][0]["tlsa"][0]["answer"]["records"] = ["3 1 1 aa"]
    now["facts"]["chain_sha256"] = ["bb"]
    del now["finding"]
    found = {item.what: (item.then.split(":")[0], item.now) for item in changes([then], [now])}
    assert set(found) == {"TLSA _25._tcp.mx1.fabrikam.com", "certificate at mx1.fabrikam.com [192.0.2.4]", "result"}
    assert found["TLSA _25._tcp.mx1.fabrikam.com"] == ("secure", "secure: 3 1 1 aa")
    assert found["result"] == ("450 4.7.323 tlsa-invalid", "delivered over mx1.fabrikam.com")


def test_what_was_not_seen_then_says_so() -> None:
    now = mismatch_attempt()
    found = {item.what: item.then for item in changes([], [now])}
    assert found["MX fabrikam.com"] == "not seen"


# -------------------------------------------------------------------------------------------------------------- DNSSEC


def link(
    zone: str, *, security: Security = Security.SECURE, days_left: float = 20, life: float = 30, tags: tuple[int, ...] = (7,)
) -> ZoneLink:
    failed = security in (Security.BOGUS, Security.UNKNOWN)
    expires = NOW + timedelta(days=days_left)
    signature = Signature(7, "ECDSAP256SHA256", zone, expires - timedelta(days=life), expires)
    keys = SignedAnswer(
        zone, "DNSKEY", Outcome.FAILED if failed else Outcome.DATA, security, "signature expired" if failed else "", True,
        (signature,), (Key(7, "ECDSAP256SHA256", True),),
    )  # fmt: skip
    ds = SignedAnswer(zone, "DS", Outcome.DATA, Security.SECURE, present=True,
                      delegations=tuple(Delegation(tag, "ECDSAP256SHA256", "SHA256") for tag in tags))  # fmt: skip
    return ZoneLink(zone, keys, ds)


def seen(*zones: ZoneLink, trusted: bool = True) -> Seen:
    evidence = replace(make.evidence(Hop("contoso.com", HopKind.MX, make.none(rtype="MX"), ())), resolver_trusted=trusted)
    connector = make.connector()
    return Seen("contoso.com", NOW, connector, decide(connector, evidence), (), tuple(zones))


def test_a_signed_zone_with_fresh_signatures_is_fine() -> None:
    check = dnssec_check(seen(link("com"), link("contoso.com")))
    assert check.status is Status.OK
    assert check.worst is Status.OK
    assert "DNSKEY 7 ECDSAP256SHA256, entry point" in check.children[1].facts


@pytest.mark.parametrize(
    ("days_left", "life", "status"),
    [
        (20, 30, Status.OK),
        (2, 30, Status.WARNING),  # the last fifth, and less than three days
        (5, 30, Status.OK),
        (1, 2, Status.OK),  # signed on the fly for two days: half of it is left
        (0.1, 2, Status.WARNING),
    ],
)
def test_signatures_that_end_soon_are_a_warning(days_left: float, life: float, status: Status) -> None:
    check = dnssec_check(seen(link("contoso.com", days_left=days_left, life=life)))
    assert check.children[0].status is status


def test_broken_and_unknown_zones_are_errors_and_an_untrusted_resolver_is_ours() -> None:
    for security in (Security.BOGUS, Security.UNKNOWN):
        assert dnssec_check(seen(link("contoso.com", security=security))).status is Status.ERROR
    blind = dnssec_check(seen(link("contoso.com"), trusted=False))
    assert (blind.status, blind.whose) == (Status.ERROR, Whose.OUR_DNS)


def test_a_ds_record_without_its_key_is_shown() -> None:
    check = dnssec_check(seen(link("contoso.com", tags=(9,))))
    assert "DS names key 9 ECDSAP256SHA256, SHA256, which the zone does not have" in check.children[0].facts


# --------------------------------------------------------------------------------------------------- resolvers, settings


def answer(security: Security, *records: str) -> Answer[Any]:
    return Answer("contoso.com", "A", Outcome.DATA if records else Outcome.NODATA, security, records)


def test_resolvers_differ_by_data_and_by_what_believed_ones_prove() -> None:
    secure, insecure = answer(Security.SECURE, "192.0.2.1", "192.0.2.2"), answer(Security.INSECURE, "192.0.2.2", "192.0.2.1")
    assert not Compared(("A", "contoso.com"), (secure, insecure), (True, False)).differs
    assert Compared(("A", "contoso.com"), (secure, insecure), (True, True)).differs
    assert Compared(("A", "contoso.com"), (secure, answer(Security.SECURE)), (True, True)).differs
    assert not Compared(("A", "contoso.com"), (secure, answer(Security.SECURE)), (True, True)).differs_among([True, False])


async def test_an_analysis_leaves_no_policy_behind() -> None:
    policy = CachedPolicy("contoso.com", "1", "version: STSv1", NOW, NOW, NOW)

    class Kept:
        async def get(self, domain: str) -> CachedPolicy | None:
            return policy

        async def put(self, policy: CachedPolicy) -> None:
            raise AssertionError("written")

        async def remove(self, domain: str) -> None:
            raise AssertionError("removed")

        async def expiring(self, before: datetime, limit: int) -> list[CachedPolicy]:
            return []

    cache = OnlyRead(Kept())
    await cache.put(policy)
    await cache.remove("contoso.com")
    assert await cache.get("contoso.com") is policy
    assert await cache.expiring(NOW, 1) == []


def test_hurried_settings_are_never_slower() -> None:
    settings = Settings.model_validate({"resolver": {"timeout_seconds": 3.0}})
    fast = hurried(settings, 5.0)
    assert fast.delivery.connect_timeout_seconds == 5.0
    assert fast.mta_sts.timeout_seconds == 5.0
    assert fast.resolver.timeout_seconds == 3.0
    assert hurried(settings, None) is settings


def test_long_lists_are_cut() -> None:
    assert few(["a"] * 20) == ("a",) * 20
    assert few(["a"] * 23) == (*("a",) * 20, "… and 3 more")


# ---------------------------------------------------------------------------------------------------------------- report

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\u202e"


def analysis() -> Analysis:
    """What a hostile peer could say, everywhere at once."""
    check = Check("mx", Status.ERROR, EVIL, EVIL, Whose.RECIPIENT, EVIL, (Publish(EVIL, (EVIL, EVIL)),), (EVIL,))
    outcome = Ours(SmtpDaneMode.OPPORTUNISTIC, MtaStsMode.OPPORTUNISTIC, Would.DELIVER, None, None, EVIL, EVIL, in_force=True)
    top = Check("host", Status.WARNING, EVIL, children=(check,))
    return Analysis(replace(seen(), domain=EVIL), (outcome,), (top,), 0.1)


def test_nothing_a_peer_says_becomes_active_in_the_report() -> None:
    html = page([Report(analysis(), changes=changes([], [{"facts": {"tls_version": EVIL}, "host": EVIL}]), recorded_at=EVIL)])
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 9
    assert "default-src 'none'" in html
    assert "http-equiv" in html
    assert "src=" not in html.replace("src=x", "")


def test_what_to_do_lists_errors_first_and_each_advice_once() -> None:
    repeated = Check("a", Status.INFO, "a", advice="later")
    worse = Check("b", Status.ERROR, "b", advice="now", children=(repeated, repeated))
    found = todos(replace(analysis(), checks=(repeated, worse)))
    assert [(todo.number, todo.check.advice) for todo in found] == [(1, "now"), (2, "later")]


def test_the_record_is_plain_and_says_what_was_asked() -> None:
    record = analysis_record(analysis())
    assert record["wouldDeliver"] is True
    assert record["modes"][0]["inForce"] is True
    assert record["checks"][0]["children"][0]["publish"] == [{"where": EVIL, "lines": [EVIL, EVIL]}]


def test_every_key_of_the_record_is_documented() -> None:
    text = reference_markdown()
    record = analysis_record(analysis())
    nested = {"modes": record["modes"][0], "checks": record["checks"][0]}
    for key in record:
        assert f"`{key}" in text, key
    for name, value in nested.items():
        for key in value:
            assert re.search(rf"\| [^|]*`{name}\[\][^|]*\b{key}\b", text), f"{name}[].{key}"
