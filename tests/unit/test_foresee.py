"""What rules will do to mail for a domain: never other than what they then do to a message (policy/transport/foresee)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroute.base.errors import OperatorError
from sealroute.base.unseen import Unseen
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.exceptions import TimedException
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.transport.apply import apply_rules, hits
from sealroute.policy.transport.facts import MessageFacts, NoMessage
from sealroute.policy.transport.foresee import Foretold, for_certain, foretell, may_apply
from sealroute.policy.transport.match import Judged, Truth, Work, judge
from sealroute.policy.transport.parameters import BY_FIELD
from sealroute.policy.transport.rule import EXCEPT, Conditions, RuleMode, RuleState, SenderAddressLocation, TransportRule
from sealroute.services.foresee import Configured, Foresight

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DOMAIN = "contoso.com"
OWN = Connector(guid="00000000-0000-4000-8000-000000000001", name="Partners", recipient_domains=(DOMAIN,))
GATE = Connector(
    guid="00000000-0000-4000-8000-000000000002", name="Gate", is_transport_rule_scoped=True, use_mx_record=False,
    smart_hosts=("gate.example.net",), tls_settings=TlsSettings.CERTIFICATE_VALIDATION,
)  # fmt: skip
BY_GUID = {GATE.guid: GATE}
MUST = SmtpDaneMode.MANDATORY
HERE, ELSEWHERE = Conditions(recipient_domain_is=(DOMAIN,)), Conditions(recipient_domain_is=("fabrikam.com",))
SECRET = Conditions(subject_contains_words=("secret",))


def rule(number: int = 0, **values: object) -> TransportRule:
    given = {
        "guid": f"00000000-0000-4000-8000-0000000000{number:02}", "name": f"Rule {number}", "priority": number,
        "smtp_dane_mode": MUST,
    }  # fmt: skip
    return TransportRule(**given | values)  # type: ignore[arg-type]


def told(*rules: TransportRule) -> list[Foretold]:
    return list(foretell(OWN, may_apply(rules, DOMAIN), BY_GUID))


ASKED = {
    "recipient_domain_is": None,
    "sender_domain_is": ("contoso.com",), "from_": ("a@contoso.com",), "from_address_contains_words": ("a",),
    "from_address_matches_patterns": ("a",), "subject_contains_words": ("a",), "subject_matches_patterns": ("a",),
    "subject_or_body_contains_words": ("a",), "subject_or_body_matches_patterns": ("a",),
    "header_contains_words": ("a",), "header_matches_patterns": ("a",), "message_size_over": 0,
    "attachment_name_matches_patterns": ("a",), "attachment_extension_matches_words": ("pdf",),
}  # fmt: skip
HEADERS = {
    "header_contains_words": "header_contains_message_header",
    "header_matches_patterns": "header_matches_message_header",
}


@pytest.mark.parametrize("name", [name for name in ASKED if name != "recipient_domain_is"])
@pytest.mark.parametrize("where", SenderAddressLocation)
def test_everything_but_the_recipients_domain_depends_on_the_message(name: str, where: SenderAddressLocation) -> None:
    values = {name: ASKED[name]} | ({HEADERS[name]: "x-label"} if name in HEADERS else {})
    asked = Conditions(**values)  # type: ignore[arg-type]
    for spoken, tried in (("", rule(when=asked)), (EXCEPT, rule(unless=asked))):
        located = replace(tried, sender_address_location=where)
        judged = judge(located, NoMessage(), Work(), DOMAIN)
        assert (judged.truth, judged.unseen) == (Truth.UNKNOWN, frozenset({Unseen.NO_MESSAGE}))
        (one,) = told(located)
        assert not one.certain
        wanted = [*([HEADERS[name]] if name in HEADERS else []), name]
        assert list(one.depends_on) == [(spoken + item).removesuffix("_" if spoken else "") for item in wanted]
        assert set(one.depends_on) <= set(BY_FIELD)


def test_every_condition_was_asked() -> None:
    from sealroute.policy.transport.rule import CONDITION_FIELDS

    assert set(ASKED) | set(HEADERS.values()) == set(CONDITION_FIELDS)


def test_a_rule_about_the_domain_alone_applies_or_does_not() -> None:
    (one,) = told(rule(0, when=ELSEWHERE), rule(1, unless=HERE), rule(2, when=HERE), rule(3, when=ELSEWHERE, unless=SECRET))
    assert (one.rule.name, one.certain, one.depends_on, one.left_out_by, one.stops) == ("Rule 2", True, (), (), False)
    assert one.effect.did == ("SmtpDaneMode Opportunistic -> Mandatory",)
    assert one.connector.smtp_dane_mode is MUST
    assert one.connector.rule_effects == (one.effect,)
    assert for_certain(OWN, may_apply([rule(when=HERE)], DOMAIN), BY_GUID).smtp_dane_mode is MUST
    assert for_certain(OWN, may_apply([rule(when=SECRET)], DOMAIN), BY_GUID) is OWN


def test_only_what_is_left_of_the_conditions_is_named() -> None:
    (one,) = told(
        rule(when=replace(SECRET, recipient_domain_is=(DOMAIN,)), unless=replace(ELSEWHERE, from_=("a@contoso.com",)))
    )
    assert one.depends_on == ("subject_contains_words", "except_if_from")


def test_a_rule_that_may_stop_and_one_that_does() -> None:
    found = told(
        rule(0, when=SECRET, stop_rule_processing=True),
        rule(1, when=SECRET, stop_rule_processing=True, mode=RuleMode.AUDIT),
        rule(2, mta_sts_mode=MtaStsMode.MANDATORY, smtp_dane_mode=None),
        rule(3, stop_rule_processing=True, smtp_dane_mode=None),
        rule(4),
    )
    assert [(one.rule.priority, one.stops, one.left_out_by) for one in found] == [
        (0, True, ()), (1, False, ("Rule 0",)), (2, False, ("Rule 0",)), (3, True, ("Rule 0",)),
    ]  # fmt: skip
    assert [one.connector.mta_sts_mode.value for one in found] == ["Opportunistic", "Mandatory", "Mandatory", "Mandatory"]
    assert [one.effect.audit for one in found] == [False, True, False, False]
    assert found[1].connector.smtp_dane_mode is SmtpDaneMode.OPPORTUNISTIC


def test_one_that_may_apply_is_shown_as_if_it_were_met() -> None:
    lower = rule(1, when=SECRET, smtp_dane_mode=SmtpDaneMode.NONE, allow_weaker=True, comments="public")
    first, second, third = told(rule(0), lower, rule(2, when=SECRET, route_message_outbound_connector=GATE.guid))
    assert first.connector.smtp_dane_mode is MUST
    assert (second.effect.did, second.effect.uncertain) == (("SmtpDaneMode Mandatory -> None",), "")
    assert second.connector.smtp_dane_mode is SmtpDaneMode.NONE
    assert (third.connector.name, third.connector.smtp_dane_mode) == ("Gate", MUST), "as if the second were not met"
    assert third.connector.tls_settings is TlsSettings.CERTIFICATE_VALIDATION


# --------------------------------------------------------------------------------------------- it agrees with delivery

CONDITIONS = st.sampled_from([
    Conditions(), HERE, ELSEWHERE, SECRET, Conditions(subject_contains_words=("offer",)), Conditions(message_size_over=100),
    replace(SECRET, recipient_domain_is=("*",)), Conditions(sender_domain_is=("fabrikam.com",)),
])  # fmt: skip
RULES = st.lists(
    st.builds(
        lambda number, **values: rule(number, **values),
        number=st.just(0),
        when=CONDITIONS,
        unless=st.one_of(st.just(Conditions()), CONDITIONS),
        mode=st.sampled_from(RuleMode),
        smtp_dane_mode=st.sampled_from([None, *SmtpDaneMode]),
        mta_sts_mode=st.sampled_from([None, *MtaStsMode]),
        route_message_outbound_connector=st.sampled_from([None, GATE.guid]),
        allow_weaker=st.booleans(),
        stop_rule_processing=st.booleans(),
    ),
    max_size=5,
).map(lambda rules: [replace(one, guid=f"{n}", name=f"Rule {n}", priority=n) for n, one in enumerate(rules)])
SUBJECTS = st.sampled_from(["hello", "secret", "offer", "secret offer"])


def asks(connector: Connector) -> tuple[object, ...]:
    return connector.name, connector.smtp_dane_mode, connector.mta_sts_mode, connector.tls_settings


@given(RULES, SUBJECTS, st.sampled_from(["a@fabrikam.com", "a@example.org"]), st.sampled_from([10, 1000]))
def test_a_message_goes_as_foretold(rules: list[TransportRule], subject: str, sender: str, size: int) -> None:
    """One that meets none of what depends on it, or one of these; judged as delivery judges it."""
    facts = MessageFacts(sender, size, f"From: <{sender}>\r\nSubject: {subject}\r\n\r\n".encode())
    found = hits(rules, facts, DOMAIN, Work())
    delivered = apply_rules(OWN, found, BY_GUID)
    foretold = foretell(OWN, may_apply(rules, DOMAIN), BY_GUID)
    by_guid = {one.rule.guid: one for one in foretold}
    assert all(hit.certain for hit in found)
    assert {hit.rule.guid for hit in found} <= set(by_guid), "none applies that was not foretold"
    met = [by_guid[hit.rule.guid] for hit in found if not by_guid[hit.rule.guid].certain]
    if not met:
        assert asks(delivered) == asks(for_certain(OWN, may_apply(rules, DOMAIN), BY_GUID))
        assert [hit.rule.guid for hit in found] == [one.rule.guid for one in foretold if one.certain]
    elif len(met) == 1:
        assert asks(delivered) == asks(met[0].connector)
        effect = next(item for item in delivered.rule_effects if item.guid == met[0].rule.guid)
        assert effect == met[0].effect
    reached = {hit.rule.guid for hit in found}
    stopping = {hit.rule.name for hit in found if hit.rule.stop_rule_processing and hit.rule.mode is RuleMode.ENFORCE}
    left_out = [one for one in foretold if one.certain and one.rule.guid not in reached]
    assert all(stopping & set(one.left_out_by) for one in left_out)


# ------------------------------------------------------------------------------------------------------- the service


def test_choice_exception_and_rules_in_delivery_s_order() -> None:
    exception = TimedException(
        id="e1", organization="default", connector_guid=OWN.guid, connector_name=OWN.name, domain=DOMAIN, smtp_dane_mode=SmtpDaneMode.NONE,
        mta_sts_mode=None, until=NOW + timedelta(hours=1), reason="renewal", author="anna", created_at=NOW,
    )  # fmt: skip
    rules = [
        rule(1, when=SECRET),
        rule(0, mta_sts_mode=MtaStsMode.MANDATORY, smtp_dane_mode=None),
        rule(2, state=RuleState.DISABLED),
    ]
    foresight = Foresight(Configured(default_connector("default"), [OWN, GATE], (), [exception], rules), NOW)
    course = foresight.of(DOMAIN)
    assert (course.choice.connector, course.own.smtp_dane_mode) == (OWN, SmtpDaneMode.NONE)
    assert (course.connector.exception_id, course.connector.mta_sts_mode) == ("e1", MtaStsMode.MANDATORY)
    assert [one.rule.priority for one in course.rules()] == [0, 1]
    other = foresight.of("example.org")
    assert (other.choice.connector, other.connector.name) == (None, "(default)")
    assert other.connector.smtp_dane_mode is SmtpDaneMode.OPPORTUNISTIC


def test_a_route_that_cannot_be_used_is_said() -> None:
    unusable = replace(GATE, enabled=False)
    foresight = Foresight(Configured(OWN, [unusable], rules=[rule(when=HERE, route_message_outbound_connector=GATE.guid)]), NOW)
    with pytest.raises(OperatorError, match="which cannot be used"):
        foresight.of(DOMAIN)
    assert foresight.of("example.org").connector is OWN


def test_nothing_is_known_of_no_message() -> None:
    assert judge(rule(when=Conditions(message_size_over=1)), NoMessage(), Work(), DOMAIN) == Judged(
        Truth.UNKNOWN, frozenset({Unseen.NO_MESSAGE}), ("message_size_over",)
    )
