"""decide, row by row: each case is the happy scenario with one difference, and what an administrator would read of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroute.base.dnsdata import Answer, Mx, Outcome, Security, Tlsa
from sealroute.policy.decide import HostPlan, Plan, decide
from sealroute.policy.evidence import Evidence, FetchFailure, Hop, HopKind, HostEvidence, StsEvidence, StsSource, TlsaLookup
from sealroute.policy.exceptions import TimedException, apply
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings, Wishes
from sealroute.policy.reasons import Reason, TlsRptResult
from sealroute.policy.requirement import Requirement
from sealroute.policy.rows import tlsa_bases
from sealroute.policy.table import DANE_ROWS, HOP_ROWS, STS_ROWS, TOGETHER_ROWS, Cell, Then, markdown, row_names
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus
from tests.unit import evidence_factory as make

NONE, REPORT, OPP, MUST = SmtpDaneMode.NONE, SmtpDaneMode.REPORT_ONLY, SmtpDaneMode.OPPORTUNISTIC, SmtpDaneMode.MANDATORY
S_NONE, S_REPORT, S_OPP, S_MUST = MtaStsMode.NONE, MtaStsMode.REPORT_ONLY, MtaStsMode.OPPORTUNISTIC, MtaStsMode.MANDATORY
INSECURE, BOGUS, UNKNOWN = Security.INSECURE, Security.BOGUS, Security.UNKNOWN


def only(plan: Plan) -> HostPlan:
    assert plan.finding is None
    (host,) = plan.hosts
    return host


def said(plan: Plan) -> str:
    """The plan in one line: what the one host must show, or why it is held."""
    if plan.finding is not None:
        return plan.finding.returned() if plan.finding.final else plan.finding.queued()
    host = only(plan)
    if host.finding is not None:
        return host.finding.returned() if host.finding.final else host.finding.queued()
    assert host.requirement is not None
    return asks(host.requirement)


def need(plan: Plan) -> Requirement:
    found = only(plan).requirement
    assert found is not None
    return found


def asks(need: Requirement) -> str:
    parts = ["tls" if need.tls_required else "opportunistic"]
    if need.dane is not None:
        parts.append("dane" if need.dane.enforced else "dane observed")
    if need.sts is not None:
        parts.append("sts" if need.sts.enforced else "sts observed")
    if need.chain:
        parts.append("chain")
    parts += need.certificate_names
    if need.authenticated:
        parts.append("requiretls")
    return " ".join(parts)


def tlsa_host(*answers: Answer[Tlsa], **changes: object) -> HostEvidence:
    return make.host(tlsa=tuple(TlsaLookup(make.HOST, answer) for answer in answers), **changes)


DANE_CASES: dict[str, tuple[Hop, Sequence[str]]] = {
    # row: (evidence of the host or hop, what each mode None, ReportOnly, Opportunistic, Mandatory comes to)
    "dane-usable": (make.hop(), ("opportunistic", "opportunistic dane observed", "tls dane", "tls dane")),
    "dane-unusable": (
        make.hop(tlsa_host(make.data(make.UNUSABLE_TLSA))),
        ("opportunistic", "opportunistic dane observed", "tls dane",
         "450 4.7.326 dane-required: This connector requires DANE and the destination does not offer it: "
         "no TLSA record of mx.contoso.com is usable for SMTP"),
    ),
    "dane-absent": (
        make.hop(tlsa_host(make.none(outcome=Outcome.NXDOMAIN))),
        ("opportunistic", "opportunistic", "opportunistic",
         "450 4.7.326 dane-required: This connector requires DANE and the destination does not offer it: "
         "mx.contoso.com publishes no TLSA record"),
    ),
    "dane-insecure": (
        make.hop(make.host(a=make.data("192.0.2.1", security=INSECURE), tlsa=())),
        ("opportunistic", "opportunistic", "opportunistic",
         "450 4.7.326 dane-required: This connector requires DANE and the destination does not offer it: "
         "the addresses of mx.contoso.com are not signed with DNSSEC"),
    ),
    "dane-tlsa-unknown": (
        make.hop(tlsa_host(make.failed(detail="SERVFAIL", name="_25._tcp.mx.contoso.com"))),
        ("opportunistic", "opportunistic",
         *["450 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records: "
           "TLSA _25._tcp.mx.contoso.com: SERVFAIL"] * 2),
    ),
    "dane-address-unknown": (
        make.hop(make.host(a=make.failed(BOGUS, "signature expired"), aaaa=make.failed(UNKNOWN, "timeout"), tlsa=())),
        ["450 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records: "
         "A mx.contoso.com: signature expired; AAAA mx.contoso.com: timeout"] * 4,
    ),
    "dane-literal": (
        make.hop(make.host(name="192.0.2.9", is_literal=True, literal_addresses=("192.0.2.9",), a=None, aaaa=None, tlsa=()),
                 kind=HopKind.SMART_HOST, mx=None, name="192.0.2.9"),
        ("opportunistic", "opportunistic", "opportunistic",
         "450 4.7.326 dane-required: This connector requires DANE and the destination does not offer it: "
         "192.0.2.9 is an address, not a name"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", DANE_CASES)
@pytest.mark.parametrize("mode", [NONE, REPORT, OPP, MUST])
def test_dane_row(row: str, mode: SmtpDaneMode) -> None:
    hop, outcomes = DANE_CASES[row]
    plan = decide(make.connector(mode), make.evidence(hop))
    assert said(plan) == outcomes[[NONE, REPORT, OPP, MUST].index(mode)]
    assert ("dane-off" if mode is NONE else row) in plan.hosts[0].rows


def test_resolver_cannot_validate() -> None:
    blind = make.evidence(resolver_trusted=False, resolver_detail="iana.org should be secure and is bogus")
    held = (
        "450 4.7.324 resolver-cannot-validate: Our DNS resolver cannot tell valid DNSSEC from invalid, "
        "so nothing can be proven: iana.org should be secure and is bogus"
    )
    assert said(decide(make.connector(MUST), blind)) == held
    asked = decide(make.connector(OPP), blind, Wishes(require_tls=True))
    assert said(asked).startswith("450 4.7.324 resolver-cannot-validate")
    assert "resolver-cannot-validate" in only(asked).rows


def test_what_an_untrusted_resolver_shows_must_still_hold_and_replaces_nothing() -> None:
    """Whoever can block our probes must not switch DANE off."""
    blind = make.evidence(resolver_trusted=False)
    plan = decide(make.connector(OPP), blind)
    assert said(plan) == "tls dane"
    assert only(plan).rows == ("dane-usable", "sts-absent", "resolver-cannot-validate")
    assert need(plan).dane_shadow is False
    assert said(decide(make.connector(NONE), blind)) == "opportunistic"
    policy = STS_CASES["sts-enforce"][0]
    both = decide(make.connector(OPP, S_OPP), make.evidence(policies=(policy,), resolver_trusted=False))
    assert said(both) == "tls dane sts"
    asked = decide(
        make.connector(OPP, S_OPP), make.evidence(policies=(policy,), resolver_trusted=False), Wishes(require_tls=True)
    )
    assert said(asked) == "tls dane sts requiretls"
    mismatch = STS_CASES["sts-enforce-mismatch"][0]
    assert said(decide(make.connector(OPP, S_OPP), make.evidence(policies=(mismatch,), resolver_trusted=False))) == MISMATCH


@pytest.mark.parametrize("row", ["mx-bogus", "mx-unknown", "mx-null", "mx-nxdomain"])
def test_an_untrusted_resolver_is_not_the_destinations_fault(row: str) -> None:
    """Mandatory holds whatever it says, the other modes what it calls BOGUS; neither returns or reports anything."""
    hop = HOP_CASES[row][0]
    blind = make.evidence(hop, resolver_trusted=False)
    must, opportunistic = decide(make.connector(MUST), blind), decide(make.connector(OPP), blind)
    assert must.rows == (row, "resolver-cannot-validate")
    assert said(must).startswith("450 4.7.324 resolver-cannot-validate")
    assert ("resolver-cannot-validate" in said(opportunistic)) == (row == "mx-bogus")
    assert must.reported == ()
    assert row != "mx-bogus" or opportunistic.reported == ()


def test_bogus_hosts_of_an_untrusted_resolver_are_not_the_destinations_fault() -> None:
    hop = DANE_CASES["dane-tlsa-unknown"][0]
    plan = decide(make.connector(OPP), make.evidence(hop, resolver_trusted=False))
    assert said(plan).startswith("450 4.7.324 resolver-cannot-validate")
    assert only(plan).rows == ("dane-tlsa-unknown", "sts-absent", "resolver-cannot-validate")
    assert only(plan).reported == ()


def test_what_a_tls_report_says_of_findings_before_any_handshake() -> None:
    """Absence of DANE is a failure only for whoever requires it; bogus records are one for whoever looks."""
    for row in ("dane-absent", "dane-insecure", "dane-unusable", "dane-literal"):
        gathered = make.evidence(DANE_CASES[row][0])
        assert only(decide(make.connector(MUST), gathered)).reported == (TlsRptResult.DANE_REQUIRED,)
        assert only(decide(make.connector(OPP), gathered)).reported == ()
    bogus = make.evidence(HOP_CASES["mx-bogus"][0])
    assert decide(make.connector(OPP), bogus).reported == (TlsRptResult.DNSSEC_INVALID,)
    assert decide(make.connector(NONE), bogus).reported == ()
    assert decide(make.connector(OPP), make.evidence(HOP_CASES["mx-unknown"][0])).reported == ()


def test_a_host_without_addresses_is_in_the_rows() -> None:
    nowhere = make.hop(make.host(a=make.none(), aaaa=make.none(rtype="AAAA")))
    for mode in (NONE, OPP, MUST):
        assert "host-no-address" in only(decide(make.connector(mode), make.evidence(nowhere))).rows
    assert "host-no-address" not in only(decide(make.connector(OPP), make.evidence())).rows


def test_a_timed_exception_is_in_the_rows_and_in_the_requirement() -> None:
    now = make.evidence().gathered_at
    connector = make.connector(MUST)
    exception = TimedException(
        id="x1f0c9a27", organization=connector.organization, connector_guid=connector.guid, connector_name=connector.name,
        domain=make.DOMAIN, smtp_dane_mode=OPP, created_at=now, until=now + timedelta(days=1), reason="renewal", author="anna",
    )  # fmt: skip
    excepted = apply(connector, exception, make.DOMAIN, now)
    absent = make.evidence(DANE_CASES["dane-absent"][0])
    assert said(decide(connector, absent)).startswith("450 4.7.326 dane-required")
    plan = decide(excepted, absent)
    assert said(plan) == "opportunistic"
    assert plan.rows == ("exception", "mx-found")
    assert need(plan).exception == "x1f0c9a27"
    same = make.evidence()
    assert need(decide(excepted, same)).key != need(decide(connector, same)).key, "its connections serve nothing else"


MISMATCH = (
    "450 4.4.8 MX hosts of contoso.com failed MTA-STS validation: "
    "mx.contoso.com is not among: mx.fabrikam.com, *.mail.contoso.com"
)
STS_CASES: dict[str, tuple[StsEvidence, str, str]] = {
    # row: (evidence, Opportunistic, Mandatory)
    "sts-absent": (
        make.sts_absent(), "opportunistic",
        "450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
        "contoso.com publishes no MTA-STS policy",
    ),
    "sts-txt-invalid": (
        make.sts(policy=None, txt_parsed=StsTxt(TxtStatus.INVALID, reason="two records")), "opportunistic",
        "450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
        "two records",
    ),
    "sts-policy-invalid": (
        make.sts_failed(FetchFailure.POLICY_INVALID, "no max_age"), "opportunistic",
        "450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
        "no max_age",
    ),
    "sts-fetch-error": (
        make.sts_failed(), "opportunistic",
        "450 4.7.327 sts-policy-fetch-error: The destination's MTA-STS policy could not be fetched: HTTP 404",
    ),
    "sts-webpki-invalid": (
        make.sts_failed(FetchFailure.WEBPKI_INVALID, "self-signed"), "opportunistic",
        "450 4.7.327 sts-policy-fetch-error: The destination's MTA-STS policy could not be fetched: self-signed",
    ),
    "sts-dns-unknown": (
        make.sts_failed(detail="TXT: SERVFAIL", txt=make.failed(), txt_parsed=None), "opportunistic",
        "450 4.7.327 sts-policy-fetch-error: The destination's MTA-STS policy could not be fetched: TXT: SERVFAIL",
    ),
    "sts-enforce": (make.sts(), "tls sts", "tls sts"),
    "sts-enforce-mismatch": (
        make.sts(policy=make.policy(StsMode.ENFORCE, "mx.fabrikam.com", "*.mail.contoso.com")), MISMATCH, MISMATCH,
    ),
    "sts-testing": (
        make.sts(policy=make.policy(StsMode.TESTING)), "opportunistic sts observed",
        "450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
        "the policy's mode is testing",
    ),
    "sts-none": (
        make.sts(policy=make.policy(StsMode.NONE)), "opportunistic",
        "450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
        "the policy's mode is none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", STS_CASES)
def test_sts_row(row: str) -> None:
    found, opportunistic, mandatory = STS_CASES[row]
    gathered = make.evidence(policies=(found,))
    assert said(decide(make.connector(NONE, S_OPP), gathered)) == opportunistic
    plan = decide(make.connector(NONE, S_MUST), gathered)
    assert said(plan) == mandatory
    assert row in plan.hosts[0].rows
    assert said(decide(make.connector(NONE, S_NONE), gathered)) == "opportunistic"
    observed = " sts observed" if row in ("sts-enforce", "sts-enforce-mismatch", "sts-testing") else ""
    assert said(decide(make.connector(NONE, S_REPORT), gathered)) == f"opportunistic{observed}"


def test_sts_of_a_literal_smart_host_and_evidence_that_was_not_gathered() -> None:
    hop, _ = DANE_CASES["dane-literal"]
    assert said(decide(make.connector(NONE, S_MUST), make.evidence(hop))) == (
        "450 4.7.328 sts-required: This connector requires MTA-STS and the destination has no policy in enforce mode: "
        "192.0.2.9 is an address, not a name"
    )
    # Evidence without a policy domain is unknown, never absent.
    assert said(decide(make.connector(NONE, S_MUST), make.evidence(policies=()))).startswith("450 4.7.327")
    # A record was seen, but no policy and no failure: cannot be; not taken for absent.
    odd = make.sts(policy=None)
    assert said(decide(make.connector(NONE, S_MUST), make.evidence(policies=(odd,)))).startswith("450 4.7.327")


HOP_CASES = {
    "mx-bogus": (make.hop(mx=make.failed(BOGUS, "no signature", make.DOMAIN, "MX"), hosts=()),
                 "450 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records: "
                 "MX contoso.com: no signature"),
    "mx-unknown": (make.hop(mx=make.failed(UNKNOWN, "", make.DOMAIN, "MX"), hosts=()),
                   "450 4.4.312 DNS query failed: MX contoso.com: unknown"),
    "mx-null": (make.hop(mx=make.data(Mx(0, ""), name=make.DOMAIN), hosts=()),
                "556 5.1.10 Recipient domain does not accept mail (null MX)"),
    "mx-nxdomain": (make.hop(mx=make.none(outcome=Outcome.NXDOMAIN, name=make.DOMAIN), hosts=()),
                    "550 5.4.310 DNS domain does not exist"),
    "mx-implicit": (make.hop(mx=make.none(name=make.DOMAIN), kind=HopKind.IMPLICIT_MX), "tls dane"),
    "mx-found": (make.hop(), "tls dane"),
    "smart-host": (make.hop(kind=HopKind.SMART_HOST), "tls dane"),
}  # fmt: skip


@pytest.mark.parametrize("row", HOP_CASES)
def test_next_hop_row(row: str) -> None:
    hop, outcome = HOP_CASES[row]
    plan = decide(make.connector(), make.evidence(hop))
    assert said(plan) == outcome
    assert plan.rows == (row,)


def test_hosts_without_addresses_or_with_unknown_ones_are_ruled_out_in_mode_none_too() -> None:
    no_address = make.host(a=make.none(), tlsa=())
    assert said(decide(make.connector(NONE), make.evidence(make.hop(no_address)))) == (
        "450 4.4.312 DNS query failed: no mail host of the domain has an address: mx.contoso.com has neither A nor AAAA records"
    )
    unknown = make.host(a=make.failed(UNKNOWN, "timeout"), tlsa=())
    plan = decide(make.connector(NONE), make.evidence(make.hop(unknown)))
    assert said(plan) == "450 4.4.312 DNS query failed: A mx.contoso.com: timeout"
    assert "host-address-unknown" in plan.hosts[0].rows
    empty = decide(make.connector(), make.evidence(make.hop(hosts=())))
    assert said(empty).startswith("450 4.4.312 DNS query failed: no mail host")


def test_one_address_family_unknown_is_not_absent_and_does_not_stop_the_other() -> None:
    partial = make.host(aaaa=make.failed(UNKNOWN, "timeout", rtype="AAAA"))
    plan = decide(make.connector(), make.evidence(make.hop(partial)))
    assert said(plan) == "tls dane"
    assert "dane-address-partial" in plan.hosts[0].rows
    assert plan.hosts[0].addresses == ("192.0.2.1",)
    # Unsigned zone whose AAAA breaks: the insecure family is used; a BOGUS one beside it is a contradiction and is not.
    unsigned = make.host(a=make.data("192.0.2.1", security=INSECURE), aaaa=make.failed(UNKNOWN), tlsa=())
    assert said(decide(make.connector(), make.evidence(make.hop(unsigned)))) == "opportunistic"
    contradiction = make.host(a=make.data("192.0.2.1", security=INSECURE), aaaa=make.failed(BOGUS), tlsa=())
    assert said(decide(make.connector(), make.evidence(make.hop(contradiction)))).startswith("450 4.7.324 dnssec-invalid")


SECURE = Security.SECURE
ALIAS_CASES = [
    ("no alias, secure", make.host(), (make.HOST,)),
    ("no alias, insecure", make.host(a=make.data("192.0.2.1", security=INSECURE)), ()),
    ("secure, secure", make.host(a=make.aliased(make.data("192.0.2.1"), ("mx.fabrikam.com", SECURE))),
     ("mx.fabrikam.com", make.HOST)),
    ("secure twice", make.host(a=make.aliased(make.data("192.0.2.1"), ("a.test", SECURE), ("b.test", SECURE))),
     ("b.test", make.HOST)),
    ("secure step, insecure end",
     make.host(a=make.aliased(make.data("192.0.2.1", security=INSECURE), ("mx.fabrikam.com", SECURE))), (make.HOST,)),
    ("secure, then insecure step",
     make.host(a=make.aliased(make.data("192.0.2.1", security=INSECURE), ("a.test", SECURE), ("b.test", INSECURE))),
     (make.HOST,)),
    ("insecure first step",
     make.host(a=make.aliased(make.data("192.0.2.1", security=INSECURE), ("a.test", INSECURE))), ()),
    ("both families unknown", make.host(a=make.failed(), aaaa=make.failed()), ()),
    ("no address, secure denial", make.host(a=make.none()), (make.HOST,)),
    ("an address, no name", make.host(is_literal=True), ()),
]  # fmt: skip


@pytest.mark.parametrize(("what", "host", "bases"), ALIAS_CASES, ids=[case[0] for case in ALIAS_CASES])
def test_tlsa_base_names(what: str, host: HostEvidence, bases: tuple[str, ...]) -> None:
    assert tlsa_bases(make.hop(), host) == bases


def test_tlsa_is_not_asked_of_a_host_whose_name_is_not_authentic() -> None:
    insecure = make.hop(mx=make.data(Mx(10, make.HOST), security=INSECURE, name=make.DOMAIN))
    assert tlsa_bases(insecure, make.host()) == ()
    assert said(decide(make.connector(MUST), make.evidence(insecure))).endswith(
        "the MX record of contoso.com is not signed with DNSSEC"
    )
    # A smart host without MX records was named by the operator: that needs no proof.
    by_hand = make.hop(kind=HopKind.SMART_HOST, mx=make.none(INSECURE, name=make.DOMAIN))
    assert tlsa_bases(by_hand, make.host()) == (make.HOST,)
    assert tlsa_bases(make.hop(kind=HopKind.SMART_HOST, mx=None), make.host()) == (make.HOST,)


def test_tlsa_walk_stops_at_the_first_secure_set_and_never_skips_an_unknown() -> None:
    good, absent, unknown = make.data(make.GOOD_TLSA), make.none(), make.failed()
    second = decide(make.connector(), make.evidence(make.hop(tlsa_host(absent, good))))
    assert said(second) == "tls dane"
    skipped = decide(make.connector(), make.evidence(make.hop(tlsa_host(unknown, good))))
    assert said(skipped).startswith("450 4.7.324")
    insecure = decide(make.connector(), make.evidence(make.hop(tlsa_host(make.data(make.GOOD_TLSA, security=INSECURE)))))
    assert "dane-absent" in only(insecure).rows
    never_asked = decide(make.connector(), make.evidence(make.hop(tlsa_host())))
    assert said(never_asked).startswith("450 4.7.324")


def test_names_for_usage_2_are_base_next_hop_and_original() -> None:
    aliased = make.aliased(make.data("192.0.2.1"), ("mx.fabrikam.com", SECURE))
    host = make.host(a=aliased, tlsa=(TlsaLookup("mx.fabrikam.com", make.data(make.GOOD_TLSA)),))
    need = only(decide(make.connector(), make.evidence(make.hop(host)))).requirement
    assert need is not None
    assert need.dane is not None
    assert need.dane.names == ("mx.fabrikam.com", "contoso.com", "mx.contoso.com")
    assert need.sni == "mx.fabrikam.com"


# --------------------------------------------------------------------------------------------------------- together


def test_dane_decides_and_sts_is_only_observed_unless_mandatory() -> None:
    both = make.evidence(policies=(make.sts(),))
    plan = decide(make.connector(), both)
    assert said(plan) == "tls dane sts observed"
    assert "dane-over-sts" in only(plan).rows
    assert said(decide(make.connector(OPP, S_MUST), both)) == "tls dane sts"
    mismatch = make.evidence(policies=(make.sts(policy=make.policy(StsMode.ENFORCE, "mx.fabrikam.com")),))
    assert said(decide(make.connector(), mismatch)) == "tls dane sts observed"
    assert said(decide(make.connector(OPP, S_MUST), mismatch)).startswith("450 4.4.8")
    # DANE in ReportOnly authenticates nothing, so MTA-STS holds.
    assert said(decide(make.connector(REPORT), both)) == "tls dane observed sts"
    unusable = make.evidence(make.hop(tlsa_host(make.data(make.UNUSABLE_TLSA))), policies=(make.sts(),))
    assert said(decide(make.connector(), unusable)) == "tls dane sts"


def test_cached_policy_is_named_in_the_rows() -> None:
    cached = make.sts(source=StsSource.CACHED, failure=FetchFailure.FETCH_ERROR, failure_detail="timeout")
    assert "sts-cached" in only(decide(make.connector(NONE), make.evidence(policies=(cached,)))).rows
    for status in (TxtStatus.NONE, TxtStatus.INVALID):
        gone = make.sts(source=StsSource.CACHED, txt_parsed=StsTxt(status))
        assert "sts-cached" in only(decide(make.connector(NONE), make.evidence(policies=(gone,)))).rows
    for source in (StsSource.FETCHED, StsSource.CACHED):
        fine = make.sts(source=source)
        assert "sts-cached" not in only(decide(make.connector(NONE), make.evidence(policies=(fine,)))).rows


@pytest.mark.parametrize(
    ("settings_", "dane", "mta_sts"), list(itertools.product([None, *TlsSettings], SmtpDaneMode, MtaStsMode))
)
def test_the_strictest_of_each_property_wins(settings_: TlsSettings | None, dane: SmtpDaneMode, mta_sts: MtaStsMode) -> None:
    """What TlsSettings asks for is asked for whatever DANE and MTA-STS say, and the other way round."""
    gathered = make.evidence(policies=(make.sts(),))
    tls_domain = "mail.contoso.com" if settings_ is TlsSettings.DOMAIN_VALIDATION else None
    need = only(decide(make.connector(dane, mta_sts, tls_settings=settings_, tls_domain=tls_domain), gathered)).requirement
    assert need is not None
    dane_enforced = dane in (OPP, MUST)
    sts_enforced = mta_sts is S_MUST or (mta_sts is S_OPP and not dane_enforced)
    assert need.tls_required == (settings_ is not None or dane_enforced or sts_enforced)
    assert (need.dane is not None and need.dane.enforced) == dane_enforced
    assert (need.sts is not None and need.sts.enforced) == sts_enforced
    assert need.chain == (settings_ in (TlsSettings.CERTIFICATE_VALIDATION, TlsSettings.DOMAIN_VALIDATION))
    assert need.certificate_names == ((tls_domain,) if tls_domain else ())
    assert ("tls-settings" in need.rows) == (settings_ is not None)


def test_requiretls_raises_every_mode_and_returns_only_what_is_known_to_be_unfit() -> None:
    wish = Wishes(require_tls=True)
    assert said(decide(make.connector(NONE, S_NONE), make.evidence(), wish)) == "tls dane requiretls"
    by_sts = make.evidence(make.hop(tlsa_host(make.none())), policies=(make.sts(),))
    assert said(decide(make.connector(REPORT, S_REPORT), by_sts, wish)) == "tls sts requiretls"
    neither = make.evidence(make.hop(tlsa_host(make.none())))
    plan = decide(make.connector(), neither, wish)
    assert said(plan) == "550 5.7.30 REQUIRETLS support required: neither DANE nor MTA-STS authenticates it"
    assert "requiretls" in plan.hosts[0].rows
    unknown = make.evidence(make.hop(tlsa_host(make.none())), policies=(make.sts_failed(),))
    assert said(decide(make.connector(), unknown, wish)) == (
        "450 4.7.327 sts-policy-fetch-error: The destination's MTA-STS policy could not be fetched: "
        "neither DANE nor MTA-STS authenticates it, as REQUIRETLS asks. HTTP 404"
    )


def test_tls_required_no_lowers_opportunistic_and_never_mandatory() -> None:
    wish = Wishes(tls_required_no=True)
    both = make.evidence(policies=(make.sts(),))
    plan = decide(make.connector(), both, wish)
    assert said(plan) == "opportunistic dane observed sts observed"
    assert "tls-required-no" in only(plan).rows
    assert said(decide(make.connector(MUST, S_MUST), both, wish)) == "tls dane sts"
    assert "tls-required-no" not in only(decide(make.connector(MUST, S_MUST), both, wish)).rows
    assert said(decide(make.connector(), both, Wishes(True, True))) == "tls dane sts observed requiretls"
    kept = make.connector(OPP, S_OPP, tls_settings=TlsSettings.ENCRYPTION_ONLY)
    assert said(decide(kept, both, wish)) == "tls dane observed sts observed"


def test_smart_hosts_each_with_its_own_policy_domain() -> None:
    first = make.hop(name="relay.contoso.com", kind=HopKind.SMART_HOST)
    second = make.hop(name="relay.fabrikam.com", kind=HopKind.SMART_HOST)
    policies = (make.sts_absent(), make.sts(domain="relay.fabrikam.com"))
    plan = decide(make.connector(NONE), make.evidence(first, second, policies=policies))
    assert [asks(host.requirement) for host in plan.hosts if host.requirement] == ["opportunistic", "tls sts"]
    broken = make.hop(name="relay.contoso.com", kind=HopKind.SMART_HOST, mx=make.failed(), hosts=())
    plan = decide(make.connector(OPP), make.evidence(broken, second, policies=policies))
    assert [(host.name, host.hop, host.finding and host.finding.reason) for host in plan.hosts] == [
        ("relay.contoso.com", 0, Reason.DNS_FAILED),
        ("mx.contoso.com", 1, None),
    ], "one that cannot be looked up is recorded in its place, and the others are tried"
    bogus = replace(broken, mx=make.failed(BOGUS))
    assert decide(make.connector(OPP), make.evidence(bogus, second)).hosts[0].reported == (TlsRptResult.DNSSEC_INVALID,)
    nothing = decide(make.connector(OPP), make.evidence(broken, bogus))
    assert (nothing.hosts, nothing.finding and nothing.finding.reason) == ((), Reason.DNSSEC_INVALID)


def test_reported_results_do_not_depend_on_holding() -> None:
    unknown = make.evidence(make.hop(tlsa_host(make.failed())))
    assert decide(make.connector(OPP), unknown).hosts[0].reported == (TlsRptResult.DNSSEC_INVALID,)
    assert decide(make.connector(REPORT), unknown).hosts[0].reported == (TlsRptResult.DNSSEC_INVALID,)
    fetch = decide(make.connector(NONE), make.evidence(policies=(make.sts_failed(),)))
    assert fetch.hosts[0].reported == (TlsRptResult.STS_POLICY_FETCH_ERROR,)


def test_requirement_keys_differ_exactly_where_connections_must_not_be_shared() -> None:
    def key(found: Evidence, wish: Wishes | None = None, dane: SmtpDaneMode = OPP) -> str:
        need = only(decide(make.connector(dane), found, wish)).requirement
        assert need is not None
        return need.key

    def other(domain: str, record: Tlsa) -> Evidence:
        host = tlsa_host(make.data(record))
        return make.evidence(make.hop(host, name=domain), domain=domain)

    ta = Tlsa(2, 1, 1, bytes(32))
    assert key(make.evidence()) == key(other("fabrikam.com", make.GOOD_TLSA))
    assert key(other("contoso.com", ta)) != key(other("fabrikam.com", ta))
    keys = {key(make.evidence()), key(make.evidence(), dane=NONE), key(make.evidence(), Wishes(require_tls=True))}
    assert len(keys) == 3


# -------------------------------------------------------------------------------------- unknown is never absent (property)

_security = st.sampled_from(list(Security))


@st.composite
def answers(draw: st.DrawFn, record: object, name: str) -> Answer[object]:
    security = draw(_security)
    if security in (BOGUS, UNKNOWN):
        return Answer(name, "X", Outcome.FAILED, security, detail="broken")
    if draw(st.booleans()):
        return Answer(name, "X", Outcome.DATA, security, (record,), 300)
    return Answer(name, "X", draw(st.sampled_from([Outcome.NODATA, Outcome.NXDOMAIN])), security)


@st.composite
def any_host(draw: st.DrawFn) -> HostEvidence:
    tlsa = draw(st.sampled_from([make.GOOD_TLSA, make.UNUSABLE_TLSA]))
    host = make.host(a=draw(answers("192.0.2.1", make.HOST)), aaaa=draw(answers("2001:db8::1", make.HOST)), tlsa=())
    lookups = draw(st.lists(answers(tlsa, f"_25._tcp.{make.HOST}"), min_size=1, max_size=2))
    return make.host(
        a=host.a,
        aaaa=host.aaaa,
        tlsa=tuple(TlsaLookup(make.HOST, item) for item in lookups),  # type: ignore[arg-type]
    )


any_sts = st.sampled_from([found for found, *_ in STS_CASES.values()])
any_wish = st.builds(Wishes, st.booleans(), st.booleans())
any_settings = st.sampled_from([None, TlsSettings.ENCRYPTION_ONLY, TlsSettings.CERTIFICATE_VALIDATION])


@settings(max_examples=600, deadline=None)
@given(
    any_host(), _security, any_sts, st.sampled_from(list(SmtpDaneMode)), st.sampled_from(list(MtaStsMode)), any_wish,
    any_settings, st.booleans(),
)  # fmt: skip
def test_nothing_unknown_weakens(
    host: HostEvidence, mx: Security, policy: StsEvidence, dane: SmtpDaneMode, mta_sts: MtaStsMode, wish: Wishes,
    tls: TlsSettings | None, trusted: bool,
) -> None:  # fmt: skip
    """A host is dialled only on known evidence: what the mode in force needs was answered, or the mode asks nothing of it."""
    answer: Answer[Mx] = (
        make.failed(mx, name=make.DOMAIN)
        if mx in (BOGUS, UNKNOWN)
        else make.data(Mx(10, make.HOST), security=mx, name=make.DOMAIN)
    )
    hop: Hop = make.hop(host, mx=answer)
    plan = decide(
        make.connector(dane, mta_sts, tls_settings=tls),
        make.evidence(hop, policies=(policy,), resolver_trusted=trusted),
        wish,
    )
    if answer.failed:
        assert plan.finding is not None
        assert not plan.hosts
        assert not plan.finding.final
        return
    found = only(plan)
    need = found.requirement
    if need is None:
        assert found.finding is not None
        return
    assert found.addresses
    enforced_dane = (dane in (OPP, MUST) and not (wish.tls_required_no and dane is OPP)) or wish.require_tls
    bases = tlsa_bases(hop, host)
    first = next(
        (item.answer for item in host.tlsa if item.answer.failed or (item.answer.records and item.answer.secure)), None
    )
    if enforced_dane and bases:
        assert first is None or not first.failed, "a TLSA look-up that failed must hold"
        if first is not None:
            assert need.tls_required
            assert need.dane is not None
            assert need.dane.enforced
    if dane is MUST:
        assert "dane-usable" in need.rows
        assert trusted
    if mta_sts is S_MUST:
        assert need.sts is not None
        assert need.sts.enforced
        assert need.sts.mode is StsMode.ENFORCE
    if wish.require_tls:
        assert need.authenticated
        assert (trusted and need.dane is not None and need.dane.enforced) or (need.sts is not None and need.sts.enforced)
    if tls is not None:
        assert need.tls_required


# ------------------------------------------------------------------------------------------------------ the table itself


def all_cells() -> list[Cell]:
    return [cell for row in DANE_ROWS for cell in row.cells.values()] + [
        cell for row in STS_ROWS for cell in row.cells.values()
    ]


def test_the_table_covers_every_mode_and_names_each_row_once() -> None:
    assert len(set(row_names())) == len(row_names()) == sum(map(len, (HOP_ROWS, DANE_ROWS, STS_ROWS, TOGETHER_ROWS)))
    for dane_row in DANE_ROWS:
        assert set(dane_row.cells) in ({NONE}, {REPORT, OPP, MUST})
    for sts_row in STS_ROWS:
        assert set(sts_row.cells) in ({S_NONE}, {S_REPORT, S_OPP, S_MUST})
    for cell in all_cells():
        assert (cell.reason is not None) == (cell.then is Then.RULED_OUT)
    assert {Reason.DANE_REQUIRED, Reason.STS_REQUIRED} <= {cell.reason for cell in all_cells()}


def test_the_reference_page_is_printed_from_the_table() -> None:
    page = markdown()
    assert all(f"`{name}`" in page for name in row_names())
