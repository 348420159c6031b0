"""decide, what `make mutation` found that no other test noticed: whose name is authentic, which answer counts, what is recorded."""

from __future__ import annotations

import pytest

from sealroute.base.dnsdata import Mx, Outcome, Security
from sealroute.policy.decide import HostPlan, dane_detail, decide
from sealroute.policy.evidence import Hop, HopKind, HostEvidence, StsEvidence, TlsaLookup
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings, Wishes
from sealroute.policy.requirement import Requirement
from sealroute.policy.rows import addresses, dane_row, tlsa_bases
from sealroute.proto.mtasts.policy import StsMode
from sealroute.proto.mtasts.txt import StsTxt, TxtStatus
from tests.unit import evidence_factory as make
from tests.unit.test_decide import need, only, said

INSECURE, SECURE = Security.INSECURE, Security.SECURE
IPV6 = "2001:db8::1"


@pytest.mark.parametrize(
    "hop",
    [
        make.hop(kind=HopKind.SMART_HOST, mx=make.data(Mx(10, make.HOST), security=INSECURE, name=make.DOMAIN)),
        make.hop(kind=HopKind.IMPLICIT_MX, mx=make.none(INSECURE, name=make.DOMAIN)),
    ],
    ids=["a smart host's unsigned MX", "an unsigned denial of MX"],
)
def test_a_name_that_came_from_unsigned_dns_is_not_authentic(hop: Hop) -> None:
    assert tlsa_bases(hop, make.host()) == ()
    assert "dane-insecure" in only(decide(make.connector(), make.evidence(hop))).rows


@pytest.mark.parametrize(
    ("host", "bases"),
    [
        (make.host(a=None, aaaa=make.data(IPV6)), (make.HOST,)),
        (make.host(a=make.none(), aaaa=make.failed()), (make.HOST,)),
        (make.host(a=make.none(INSECURE), aaaa=make.data(IPV6)), (make.HOST,)),
        (
            make.host(a=make.aliased(make.data("192.0.2.1"), ("mx.fabrikam.com", SECURE)), aaaa=make.data(IPV6)),
            ("mx.fabrikam.com", make.HOST),
        ),
    ],
    ids=["A not asked for", "AAAA failed", "an unsigned denial beside an address", "an alias for A alone"],
)
def test_base_names_come_from_the_answers_that_are_there(host: HostEvidence, bases: tuple[str, ...]) -> None:
    """Those with addresses, if any has one; of two that differ the A answer's aliases."""
    assert tlsa_bases(make.hop(), host) == bases


def test_a_family_that_was_not_asked_for_has_no_addresses() -> None:
    assert addresses(make.host(aaaa=None)) == ("192.0.2.1",)
    assert addresses(make.host(a=None, aaaa=make.data(IPV6))) == (IPV6,)


def test_the_resolver_is_trusted_unless_told_otherwise() -> None:
    assert dane_row(make.hop(), make.host(), SmtpDaneMode.MANDATORY) == "dane-usable"


@pytest.mark.parametrize(
    "policy",
    [
        make.sts_failed(txt=None, txt_parsed=None),
        make.sts(policy=None, txt=make.failed(), txt_parsed=StsTxt(TxtStatus.NONE)),
    ],
    ids=["not asked", "failed"],
)
def test_a_txt_record_set_that_is_not_known_is_not_absent(policy: StsEvidence) -> None:
    plan = decide(make.connector(SmtpDaneMode.NONE, MtaStsMode.MANDATORY), make.evidence(policies=(policy,)))
    assert only(plan).rows[1] == "sts-dns-unknown"
    assert said(plan).startswith("450 4.7.327 sts-policy-fetch-error")


def lookups(*answers: tuple[str, object]) -> HostEvidence:
    return make.host(tlsa=tuple(TlsaLookup(base, answer) for base, answer in answers))  # type: ignore[arg-type]


def test_the_tlsa_look_up_that_failed_is_the_one_named() -> None:
    absent = make.none(name="_25._tcp.a.test")
    first, second = make.failed(name="_25._tcp.b.test"), make.failed(name="_25._tcp.c.test")
    for host in (lookups(("a.test", absent), ("b.test", first)), lookups(("b.test", first), ("c.test", second))):
        assert said(decide(make.connector(), make.evidence(make.hop(host)))).endswith(": TLSA _25._tcp.b.test: SERVFAIL")


@pytest.mark.parametrize("row", ["dane-off", "dane-usable"])
def test_a_row_that_rules_nothing_out_has_no_cause(row: str) -> None:
    assert dane_detail(make.host(), make.hop(), row) == ""


def test_the_set_that_decides_is_the_first_secure_one_with_records() -> None:
    """Not the expanded name's denial before it, nor an unsigned set."""
    unsigned = make.data(make.UNUSABLE_TLSA, security=INSECURE)
    good = make.data(make.GOOD_TLSA)
    for other in (make.none(outcome=Outcome.NXDOMAIN), unsigned):
        host = lookups(("a.test", other), (make.HOST, good))
        check = need(decide(make.connector(), make.evidence(make.hop(host)))).dane
        assert check is not None
        assert (check.base, check.records) == (make.HOST, (make.GOOD_TLSA,))


NO_DANE = make.hop(make.host(tlsa=(TlsaLookup(make.HOST, make.none()),)))
UNUSABLE = make.hop(make.host(tlsa=(TlsaLookup(make.HOST, make.data(make.UNUSABLE_TLSA)),)))


def rows(dane: Hop, sts: StsEvidence, wishes: Wishes | None = None) -> tuple[str, ...]:
    return need(decide(make.connector(), make.evidence(dane, policies=(sts,)), wishes)).rows


def test_the_rows_name_everything_that_made_the_requirement_and_nothing_else() -> None:
    dane, sts = make.hop(), make.sts()
    assert rows(dane, sts) == ("dane-usable", "sts-enforce", "dane-over-sts")
    assert rows(dane, make.sts_absent()) == ("dane-usable", "sts-absent")
    assert rows(NO_DANE, sts) == ("dane-absent", "sts-enforce")
    assert rows(NO_DANE, make.sts_absent()) == ("dane-absent", "sts-absent", "opportunistic-tls")
    assert rows(NO_DANE, sts, Wishes(require_tls=True)) == ("dane-absent", "sts-enforce", "requiretls")


@pytest.mark.parametrize("settings", TlsSettings)
def test_a_certificate_name_is_asked_for_by_domain_validation_alone(settings: TlsSettings) -> None:
    def names(tls_domain: str | None) -> tuple[str, ...]:
        return need(decide(make.connector(tls_settings=settings, tls_domain=tls_domain), make.evidence())).certificate_names

    assert names("mail.contoso.com") == (("mail.contoso.com",) if settings is TlsSettings.DOMAIN_VALIDATION else ())
    assert names(None) == ()


def shadows(hop: Hop, policy: StsEvidence, dane: SmtpDaneMode, sts: MtaStsMode) -> tuple[bool | None, bool | None]:
    found: Requirement = need(decide(make.connector(dane, sts), make.evidence(hop, policies=(policy,))))
    return found.dane_shadow, found.sts_shadow


@pytest.mark.parametrize("dane", [SmtpDaneMode.REPORT_ONLY, SmtpDaneMode.OPPORTUNISTIC])
@pytest.mark.parametrize("sts", [MtaStsMode.REPORT_ONLY, MtaStsMode.OPPORTUNISTIC])
def test_the_shadow_run_says_whether_mandatory_could_hold(dane: SmtpDaneMode, sts: MtaStsMode) -> None:
    assert shadows(make.hop(), make.sts(), dane, sts) == (True, True)
    assert shadows(NO_DANE, make.sts_absent(), dane, sts) == (False, False)
    assert shadows(UNUSABLE, make.sts(policy=make.policy(StsMode.TESTING)), dane, sts) == (False, False)


def test_there_is_no_shadow_of_what_was_not_looked_at() -> None:
    assert shadows(make.hop(), make.sts(), SmtpDaneMode.NONE, MtaStsMode.NONE) == (None, None)


def test_a_smart_host_that_could_not_be_looked_up_has_no_preference() -> None:
    broken = make.hop(name="relay.contoso.com", kind=HopKind.SMART_HOST, mx=make.failed(), hosts=())
    plan = decide(make.connector(), make.evidence(broken, make.hop(kind=HopKind.SMART_HOST)))
    assert [(host.name, host.preference, host.hop) for host in plan.hosts] == [("relay.contoso.com", 0, 0), (make.HOST, 10, 1)]


def test_a_host_belongs_to_the_first_hop_unless_told_otherwise() -> None:
    assert HostPlan(make.HOST, 10, ()) == HostPlan(make.HOST, 10, (), hop=0)
