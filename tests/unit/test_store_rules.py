"""Transport rules at rest: their order, their audit, what the gateway loads of them, and the connectors they need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError
from sealroute.policy.connector import Connector
from sealroute.policy.modes import MtaStsMode, SmtpDaneMode, TlsSettings
from sealroute.policy.transport.rule import (
    Conditions,
    RuleMode,
    RuleState,
    SenderAddressLocation,
    TransportRule,
)
from sealroute.store.engine import Database
from sealroute.store.store import Store, open_store
from tests.store_making import url_in

GATE = Connector(guid="11111111-1111-4111-8111-111111111111", name="Gate", is_transport_rule_scoped=True)
FULL = Conditions(
    recipient_domain_is=("contoso.com", "*.fabrikam.com"), sender_domain_is=("example.org",), from_=("anna@example.org",),
    from_address_contains_words=("anna",), from_address_matches_patterns=("^a{1,3}",), subject_contains_words=("top secret",),
    subject_matches_patterns=("^x",), subject_or_body_contains_words=("geheim, streng",), subject_or_body_matches_patterns=("y$",),
    header_contains_message_header="msip_labels", header_contains_words=("MSIP_Label_1_Enabled=true",),
    header_matches_message_header="X-Class", header_matches_patterns=("a|b",), message_size_over=10 * 1024 * 1024 + 1,
    attachment_name_matches_patterns=("plan",), attachment_extension_matches_words=("pdf",),
)  # fmt: skip


def guid(number: int) -> str:
    return f"22222222-2222-4222-8222-{number:012d}"


def rule(number: int, **values: object) -> TransportRule:
    given = {"guid": guid(number), "name": f"Rule {number}", "priority": number, "smtp_dane_mode": SmtpDaneMode.MANDATORY}
    return TransportRule(**(given | values))  # type: ignore[arg-type]


EVERYTHING = rule(
    1, state=RuleState.DISABLED, mode=RuleMode.AUDIT, comments="Größe,\nzweite Zeile", when=FULL, unless=replace(FULL, from_=()),
    sender_address_location=SenderAddressLocation.HEADER_OR_ENVELOPE, route_message_outbound_connector=GATE.guid,
    mta_sts_mode=MtaStsMode.NONE, tls_settings=TlsSettings.CERTIFICATE_VALIDATION, allow_weaker=True, stop_rule_processing=True,
    priority=0,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(url_in(tmp_path))
    opened.admin.connectors.add(GATE, "anna")
    yield opened
    opened.admin.close()


def stored(store: Store, identity: str) -> TransportRule:
    found = store.admin.rules.get("default", identity)
    assert found is not None
    return found


def test_a_rule_comes_back_whole(store: Store) -> None:
    store.admin.rules.save([(None, EVERYTHING)], "anna")
    found = stored(store, "rULE 1")
    times = {"when_created": found.when_created, "when_changed": found.when_changed}
    assert found.when_created is not None
    assert found == replace(EVERYTHING, **times)  # type: ignore[arg-type]
    assert store.admin.rules.get("default", EVERYTHING.guid) == found
    assert store.admin.rules.get("fabrikam", EVERYTHING.guid) is None
    assert store.admin.rules.get("default", "Rule 2") is None


def test_priorities_have_no_gaps(store: Store) -> None:
    rules = store.admin.rules
    rules.save([(None, rule(number)) for number in (0, 1, 2)], "anna")

    def order() -> list[tuple[int, str]]:
        return [(item.priority, item.name[-1]) for item in rules.all("default")]

    assert order() == [(0, "0"), (1, "1"), (2, "2")]
    last = stored(store, guid(2))
    rules.save([(last, replace(last, priority=0))], "anna")
    assert order() == [(0, "2"), (1, "0"), (2, "1")]
    rules.save([(None, rule(3, priority=1))], "anna")
    assert order() == [(0, "2"), (1, "3"), (2, "0"), (3, "1")]
    rules.save([(stored(store, guid(3)), None)], "anna")
    assert order() == [(0, "2"), (1, "0"), (2, "1")]
    newest = rules.changes("default")[1]
    assert newest.action == "NewRule"
    assert newest.after is not None
    assert newest.after["Order"] == ["Rule 2", "Rule 3", "Rule 0", "Rule 1"]


def test_every_change_is_audited_apart_from_connectors_and_grows_the_version(store: Store) -> None:
    rules = store.admin.rules
    rules.save([(None, rule(0))], "anna")
    before = stored(store, guid(0))
    rules.save([(before, replace(before, smtp_dane_mode=SmtpDaneMode.OPPORTUNISTIC, version=99))], "bert")
    after = stored(store, guid(0))
    assert (before.version, after.version) == (1, 2)
    assert after.when_created == before.when_created
    rules.save([(after, None)], "carl")
    found = rules.changes("default")
    assert [(change.actor, change.action, change.connector) for change in found] == [
        ("carl", "RemoveRule", "Rule 0"), ("bert", "SetRule", "Rule 0"), ("anna", "NewRule", "Rule 0"),
    ]  # fmt: skip
    assert found[1].before is not None
    assert found[1].after is not None
    assert (found[1].before["SmtpDaneMode"], found[1].after["SmtpDaneMode"]) == ("Mandatory", "Opportunistic")
    assert (found[0].after, found[2].before) == (None, None)
    assert [change.action for change in store.admin.connectors.changes("default")] == ["New"]
    assert rules.changes("fabrikam") == []


def test_what_was_changed_meanwhile_is_not_overwritten_and_nothing_is_half_done(store: Store) -> None:
    rules = store.admin.rules
    rules.save([(None, rule(0))], "anna")
    seen = stored(store, guid(0))
    rules.save([(seen, replace(seen, comments="x"))], "bert")
    with pytest.raises(OperatorError, match="'Rule 0' was changed or removed meanwhile"):
        rules.save([(None, rule(1)), (seen, None)], "anna")
    with pytest.raises(OperatorError, match="there is a rule 'Rule 0' already"):
        rules.save([(None, rule(1)), (None, rule(2, name="RULE 0"))], "anna")
    with pytest.raises(OperatorError, match="no organisation 'nobody'"):
        rules.save([(None, rule(1, organization="nobody"))], "anna")
    assert [item.name for item in rules.all("default")] == ["Rule 0"]


def test_a_connector_stays_usable_while_a_rule_needs_it(store: Store) -> None:
    rules, connectors = store.admin.rules, store.admin.connectors
    rules.save([(None, rule(0, route_message_outbound_connector=GATE.guid))], "anna")
    gate = connectors.get("default", "Gate")
    assert gate is not None
    for unusable in (replace(gate, enabled=False), replace(gate, test_mode=True)):
        with pytest.raises(OperatorError, match="transport rule 'Rule 0' routes mail through connector 'Gate'"):
            connectors.replace(unusable, "anna")
        with pytest.raises(OperatorError, match="transport rule 'Rule 0' routes"):
            connectors.save_all([], [(gate, unusable)], "anna")
    with pytest.raises(OperatorError, match=r"transport rule 'Rule 0' routes .* Remove or change the rule first"):
        connectors.remove("default", gate.guid, "anna")
    connectors.replace(replace(gate, name="Gateway"), "anna")
    asked = stored(store, guid(0))
    rules.save([(asked, replace(asked, state=RuleState.DISABLED))], "anna")
    gate = connectors.get("default", GATE.guid)
    assert gate is not None
    connectors.replace(replace(gate, enabled=False), "anna")
    with pytest.raises(OperatorError, match="routes mail"):
        connectors.remove("default", gate.guid, "anna")
    asked = stored(store, guid(0))
    with pytest.raises(OperatorError, match="is not there, disabled, or in test mode"):
        rules.save([(asked, replace(asked, state=RuleState.ENABLED))], "anna")
    with pytest.raises(OperatorError, match="is not there, disabled, or in test mode"):
        rules.save([(None, rule(1, route_message_outbound_connector=guid(9)))], "anna")
    rules.save([(asked, None)], "anna")
    connectors.remove("default", gate.guid, "anna")


async def test_the_gateway_loads_what_is_enabled_in_order(store: Store) -> None:
    live, rules = store.connectors, store.admin.rules
    assert await live.refresh() is True
    assert live.rules("default") == ()
    rules.save([(None, rule(0)), (None, rule(1, state=RuleState.DISABLED)), (None, rule(2, priority=0))], "anna")
    assert await live.refresh() is True
    assert [item.name for item in live.rules("default")] == ["Rule 2", "Rule 0"]
    assert live.rules("fabrikam") == ()
    assert await live.refresh() is False


async def test_a_rule_that_cannot_be_read_is_named_and_the_last_set_stays(store: Store, tmp_path: Path) -> None:
    live, rules = store.connectors, store.admin.rules
    rules.save([(None, rule(0))], "anna")
    await live.refresh()
    database = Database(url_in(tmp_path))
    with database.write() as connection:
        connection.exec_driver_sql('UPDATE transport_rule SET parameters = \'{"Name":"a","Guid":"b","Frobnicate":"1"}\'')
        connection.exec_driver_sql("UPDATE counter SET value = value + 1 WHERE name = 'connector_version'")
    database.close()
    with pytest.raises(OperatorError, match="transport rule 'Rule 0': Frobnicate: this version of Sealroute does not know it"):
        await live.refresh()
    assert [item.name for item in live.rules("default")] == ["Rule 0"]
