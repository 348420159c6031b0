"""Planning and saving a change to a connector: what changes, what is refused, what is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector, default_connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode
from sealroute.services.configure import Difference, Plan, connectors, find, plan_new, plan_remove, plan_set, save
from tests.unit.connector_fakes import NOW, FakeStore, guid

LATER = NOW + timedelta(days=1)
BANK = Connector(guid=guid(1), name="Contoso Bank", recipient_domains=("contoso.com",), when_created=NOW, when_changed=NOW)
LAB = Connector(guid=guid(2), name="lab", recipient_domains=("lab.example",), test_mode=True, when_created=NOW)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(BANK, LAB)


def refused(caught: pytest.ExceptionInfo[OperatorError]) -> list[str]:
    return [str(problem) for problem in caught.value.problems]


def test_new_takes_defaults_and_is_stored_with_its_maker(store: FakeStore) -> None:
    plan = plan_new(store, "default", {"Name": "Fabrikam", "RecipientDomains": "fabrikam.com"}, LATER)
    assert store.get("default", "fabrikam") is None
    made = save(store, plan, "alice")
    assert made == plan.after == store.get("default", "fabrikam")
    assert made is not None
    assert (made.when_created, made.when_changed, made.smtp_dane_mode) == (LATER, LATER, SmtpDaneMode.OPPORTUNISTIC)
    assert (plan.action, plan.before, plan.subject) == ("New", None, made)
    assert Difference("Name", None, "Fabrikam") in plan.differences
    assert [(change.actor, change.action) for change in store.changes("default")] == [("alice", "New")]


def test_new_takes_schedule_and_expiration_from_the_default_unless_given(store: FakeStore) -> None:
    defaults = default_connector(retry_schedule=(timedelta(seconds=5),), message_expiration=timedelta(hours=2))
    given = {"Name": "F", "RecipientDomains": "fabrikam.com", "MessageExpiration": "3h"}
    made = plan_new(store, "default", given, LATER, defaults=defaults).subject
    assert (made.retry_schedule, made.message_expiration) == ((timedelta(seconds=5),), timedelta(hours=3))


def test_new_names_every_problem_and_stores_nothing(store: FakeStore) -> None:
    given = {"Name": "CONTOSO BANK", "SmtpDaneMode": "Strict", "UseMXRecord": "false", "IsValidated": "true"}
    with pytest.raises(OperatorError) as caught:
        plan_new(store, "default", given, LATER)
    assert refused(caught) == [
        "SmtpDaneMode: 'Strict' is not one of its values. Allowed: None, ReportOnly, Opportunistic, Mandatory.",
        "IsValidated: New-OutboundConnector does not take it.",
        "RecipientDomains: the connector would never be used. "
        "Give RecipientDomains, or set AllAcceptedDomains or IsTransportRuleScoped to true.",
        "SmartHosts: UseMXRecord is false, so there must be at least one. Give SmartHosts, or set UseMXRecord to true.",
        "Name: there is already a connector 'CONTOSO BANK'. Names are compared without case.",
    ]
    assert store.version() == 0


def test_new_without_a_name(store: FakeStore) -> None:
    with pytest.raises(OperatorError) as caught:
        plan_new(store, "default", {"RecipientDomains": "x.example"}, LATER)
    assert refused(caught) == ["Name: it is empty. Give the connector a name."]


def test_set_changes_what_is_given_and_shows_before_and_after(store: FakeStore) -> None:
    given = {"SmtpDaneMode": "mandatory", "RecipientDomains": "@{Add=*.contoso.com}", "Name": "Bank"}
    plan = plan_set(store, "default", "contoso bank", given, LATER)
    assert plan.differences == (
        Difference("RecipientDomains", ["contoso.com"], ["contoso.com", "*.contoso.com"]),
        Difference("SmtpDaneMode", "Opportunistic", "Mandatory"),
        Difference("Name", "Contoso Bank", "Bank"),
    )
    save(store, plan, "bob")
    expected = replace(
        BANK,
        name="Bank",
        smtp_dane_mode=SmtpDaneMode.MANDATORY,
        recipient_domains=("contoso.com", "*.contoso.com"),
        when_changed=LATER,
    )
    assert store.get("default", guid(1)) == expected
    assert [(change.actor, change.action) for change in store.changes("default")] == [("bob", "Set")]


def test_set_that_changes_nothing_is_not_recorded(store: FakeStore) -> None:
    plan = plan_set(store, "default", "Contoso Bank", {"Enabled": "$true"}, LATER)
    assert (plan.differences, plan.after) == ((), BANK)
    save(store, plan, "bob")
    assert store.version() == 0


@pytest.mark.parametrize("then", ["set", "remove"])
def test_a_plan_made_from_an_older_connector_is_not_carried_out(store: FakeStore, then: str) -> None:
    stale = {
        "set": plan_set(store, "default", "Contoso Bank", {"Comment": "x"}, LATER),
        "remove": plan_remove(store, "default", "Contoso Bank"),
    }[then]
    save(store, plan_set(store, "default", "Contoso Bank", {"SmtpDaneMode": "Mandatory"}, LATER), "alice")
    with pytest.raises(OperatorError, match="connector 'Contoso Bank' was changed or removed meanwhile"):
        save(store, stale, "bob")
    kept = store.get("default", "Contoso Bank")
    assert kept is not None
    assert kept.smtp_dane_mode is SmtpDaneMode.MANDATORY


def test_set_judges_the_whole_connector(store: FakeStore) -> None:
    save(store, plan_set(store, "default", "lab", {"UseMXRecord": "false", "SmartHosts": "192.0.2.1"}, LATER), "bob")
    with pytest.raises(OperatorError) as caught:
        plan_set(store, "default", "lab", {"MtaStsMode": MtaStsMode.MANDATORY.value}, LATER)
    assert refused(caught) == [
        "MtaStsMode: Mandatory can never hold for the smart host 192.0.2.1: an address has no policy. Name the smart host instead."
    ]


def test_set_warns(store: FakeStore) -> None:
    plan = plan_set(store, "default", "Contoso Bank", {"IsTransportRuleScoped": "true"}, LATER)
    assert [str(warning) for warning in plan.warnings] == [
        "IsTransportRuleScoped: the connector is never chosen by domain. Only a rule can send mail through it."
    ]


def test_remove(store: FakeStore) -> None:
    plan = plan_remove(store, "default", guid(1))
    assert plan == Plan("Remove", BANK, None, ())
    assert plan.subject == BANK
    assert save(store, plan, "carol") is None
    assert store.get("default", guid(1)) is None
    assert [(change.actor, change.action) for change in store.changes("default")] == [("carol", "Remove")]


def test_removing_what_demanded_something_is_warned_about(store: FakeStore) -> None:
    save(store, plan_set(store, "default", "Contoso Bank", {"SmtpDaneMode": "Mandatory"}, LATER), "alice")
    assert [str(warning) for warning in plan_remove(store, "default", "Contoso Bank").warnings] == [
        "Identity: mail for its domains goes by another connector or the default, without its SmtpDaneMode Mandatory."
    ]
    save(store, plan_set(store, "default", "Contoso Bank", {"Enabled": "false"}, LATER), "alice")
    assert not plan_remove(store, "default", "Contoso Bank").warnings


@pytest.mark.parametrize(
    ("known", "identity", "sentence"),
    [
        ((BANK,), "Contoso Bnk", "Identity: there is no connector 'Contoso Bnk'. Did you mean 'Contoso Bank'?"),
        ((BANK,), "zzz", "Identity: there is no connector 'zzz'."),
        ((), "zzz", "Identity: there is no connector 'zzz'. There are no connectors yet."),
    ],
)
def test_no_such_connector(known: tuple[Connector, ...], identity: str, sentence: str) -> None:
    with pytest.raises(OperatorError) as caught:
        find(FakeStore(*known), "default", identity)
    assert refused(caught) == [sentence]


def test_other_organisations_do_not_see_it(store: FakeStore) -> None:
    with pytest.raises(OperatorError):
        plan_remove(store, "other", "Contoso Bank")
    plan = plan_new(store, "other", {"Name": "Contoso Bank", "RecipientDomains": "contoso.com"}, LATER)
    assert not plan.warnings


def test_connectors_are_listed_by_name_and_test_mode_only_when_asked_for(store: FakeStore) -> None:
    save(store, plan_new(store, "default", {"Name": "abc", "RecipientDomains": "x.example"}, LATER), "a")
    assert [c.name for c in connectors(store, "default")] == ["abc", "Contoso Bank"]
    assert [c.name for c in connectors(store, "default", include_test_mode=True)] == ["abc", "Contoso Bank", "lab"]
